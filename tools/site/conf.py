# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx's configuration of the site; it is copied beside the pages that it is for."""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

HERE = Path(__file__).resolve().parent
KNOWN = json.loads((HERE / "names.json").read_text(encoding="utf-8"))
DEFINED = {path.rpartition(".")[2] for path in KNOWN["all"]}

project = "nmpack"
html_title = "nmpack"
extensions = ["myst_parser"]
root_doc = "index"
exclude_patterns = ["extra"]
html_extra_path = ["extra"]
html_theme = "furo"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
default_role = "code"

# What GitHub does not know is off, but for the table of contents that prepare.py appends.
myst_heading_anchors = 6
myst_disable_syntax = ["myst_block_break", "myst_line_comment", "myst_role", "myst_target"]
myst_dmath_double_inline = False
# JSON with an ellipsis is shown plain.
suppress_warnings = ["misc.highlighting_failure"]

toc_object_entries_show_parents = "hide"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

logger = logging.getLogger(__name__)


def resolve(
    app: Sphinx, environment: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find what a docstring or a signature names by less than its full name in the reference.

    What the package defines but does not offer is shown as text. A name in a docstring that
    nothing has is a warning, which fails the build.
    """
    if node.get("refdomain") != "py":
        return None
    target = str(node.get("reftarget", "")).lstrip("~.").removesuffix("()")
    objects = environment.domains.python_domain.objects
    found = KNOWN["names"].get(target)
    if found is None and (target in KNOWN["all"] or not target.startswith("nmpack.")):
        here = f"{node.get('py:module') or ''}."
        last = target.rpartition(".")[2] if target in KNOWN["all"] else target
        candidates = [name for name in objects if name.endswith(f".{last}")]
        near = [name for name in candidates if name.startswith(here)]
        found = near[0] if near else candidates[0] if len(candidates) == 1 else None
    if found in objects:
        entry = objects[found]
        return make_refnode(
            app.builder, node["refdoc"], entry.docname, entry.node_id, content, found
        )
    # Only a role has this key: a type in a signature may be anybody's.
    last = target.rpartition(".")[2]
    if "refwarn" in node and last not in DEFINED and target.startswith(("nmpack", last)):
        logger.warning("the package has no %s", target, location=node, type="ref")
    return None


def setup(app: Sphinx) -> None:
    """Look names up as above."""
    app.connect("missing-reference", resolve)
