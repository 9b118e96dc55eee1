# SPDX-License-Identifier: BSD-3-Clause
"""Writes the reference of the Python package: a page of reStructuredText for each module.

Docstrings are reStructuredText with Google's sections (Args, Returns, Raises, Attributes), which
napoleon turns into fields.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import griffe
from public_names import Offered, members, parameters
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

# Lists, not fields: one entry may speak of several names, "cost, dense_cost: of all layers".
_CONFIG: Any = Config(
    napoleon_use_param=False,
    napoleon_use_rtype=False,
    napoleon_custom_sections=[("Attributes", "params_style")],
)
_LONGEST_VALUE = 200
_STARS: dict[griffe.ParameterKind | None, str] = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}


def write(pages: list[Offered], folder: Path) -> dict[str, str]:
    """Write ``folder/NAME.rst`` for each module and an index.

    Returns:
        For each full name of an object where it lies, the full name it has in the reference.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    for page in pages:
        names |= {thing.path: f"{page.name}.{name}" for name, thing in page.objects.items()}
        names |= {path: path for path in page.types}
    for page in pages:
        text = "\n".join(_Writer(page, names).page())
        (folder / f"{page.name}.rst").write_text(text, encoding="utf-8")
    (folder / "index.rst").write_text("\n".join(_index(pages)), encoding="utf-8")
    return names


def _index(pages: list[Offered]) -> Iterator[str]:
    yield from _title("Python reference", "=")
    yield (
        "What ``import nmpack`` offers, from the docstrings. :doc:`/docs/python` shows how to use"
        " it."
    )
    yield ""
    yield ".. list-table::"
    yield "   :widths: auto"
    yield ""
    for page in pages:
        yield f"   * - :doc:`{page.name} <{page.name}>`"
        yield f"     - {_first_line(page.module)}"
    yield ""
    yield from (".. toctree::", "   :hidden:", "")
    yield from (f"   {page.name}" for page in pages)
    yield ""


class _Writer:
    """Writes one page; ``names`` is what :func:`write` returns."""

    def __init__(self, offered: Offered, names: dict[str, str]) -> None:
        self.offered = offered
        self.names = names

    def page(self) -> Iterator[str]:
        yield from _title(self.offered.name, "=")
        yield f".. py:module:: {self.offered.name}"
        yield ""
        yield from _docstring(self.offered.module, "module")
        functions = {name: each for name, each in self.offered.objects.items() if each.is_function}
        classes = {name: each for name, each in self.offered.objects.items() if each.is_class}
        values = {name: each for name, each in self.offered.objects.items() if each.is_attribute}
        for title, group in (("Functions", functions), ("Classes", classes), ("Values", values)):
            if group:
                yield from _title(title, "-")
                for name, thing in group.items():
                    yield from self._object(thing, name, self.offered.name)
        if self.offered.aliases:
            yield from _title("Also here", "-")
            yield from (
                f"- :py:obj:`{full}`, as ``{name}``" for name, full in self.offered.aliases.items()
            )
            yield ""
        if self.offered.types:
            yield from _title("What these take and return", "-")
            yield "Not offered under names of their own; where each lies is in its name."
            yield ""
            for path, thing in self.offered.types.items():
                module, _, name = path.rpartition(".")
                yield f".. py:currentmodule:: {module}"
                yield ""
                yield from self._object(thing, name, module)

    def _object(self, thing: griffe.Object, name: str, module: str) -> Iterator[str]:
        if isinstance(thing, griffe.Class):
            yield from self._class(thing, name, module)
        elif isinstance(thing, griffe.Function):
            yield f".. py:function:: {name}{self._signature(thing)}"
            yield f"   :module: {module}"
            yield ""
            yield from _indented(_docstring(thing, "function"))
        elif isinstance(thing, griffe.Attribute):
            yield f".. py:data:: {name}"
            yield f"   :module: {module}"
            value = " ".join(str(thing.value).split())
            if thing.value is not None and len(value) <= _LONGEST_VALUE:
                yield f"   :value: {value}"
            yield ""
            yield from _indented([*_docstring(thing, "data"), *_comment_above(thing)])

    def _class(self, thing: griffe.Class, name: str, module: str) -> Iterator[str]:
        is_error = any("Error" in str(base) or "Exception" in str(base) for base in thing.bases)
        yield f".. py:{'exception' if is_error else 'class'}:: {name}{self._signature(thing)}"
        yield f"   :module: {module}"
        yield ""
        bases = [self._type(base) for base in thing.bases]
        if bases:
            roles = [f":py:obj:`~{x}`" if x.startswith("nmpack.") else f"``{x}``" for x in bases]
            yield f"   Bases: {', '.join(roles)}"
            yield ""
        yield from _indented(_docstring(thing, "class"))
        for member in members(thing):
            if isinstance(member, griffe.Function):
                kind = "classmethod" if "classmethod" in member.labels else ""
                kind = "staticmethod" if "staticmethod" in member.labels else kind
                yield f"   .. py:method:: {member.name}{self._signature(member)}"
                if kind:
                    yield f"      :{kind}:"
            else:
                yield f"   .. py:property:: {member.name}"
                if member.annotation is not None:
                    yield f"      :type: {self._type(member.annotation)}"
            yield ""
            yield from _indented(_docstring(member, "method"), "      ")

    def _signature(self, thing: griffe.Object) -> str:
        """Write parameters and what is returned; nothing for a class that takes nothing."""
        parts: list[str] = []
        kinds = griffe.ParameterKind
        listed = parameters(thing)
        for number, each in enumerate(listed):
            before = listed[number - 1].kind if number else None
            if before is kinds.positional_only and each.kind is not kinds.positional_only:
                parts.append("/")
            if each.kind is kinds.keyword_only and before not in (
                kinds.keyword_only,
                kinds.var_positional,
            ):
                parts.append("*")
            stars = _STARS.get(each.kind, "")
            text = f"{stars}{each.name}"
            if each.annotation is not None:
                text += f": {self._type(each.annotation)}"
            if each.default is not None and not stars:
                text += (" = " if each.annotation is not None else "=") + str(each.default)
            parts.append(" ".join(text.split()))
        if isinstance(thing, griffe.Class):
            return f"({', '.join(parts)})" if parts else ""
        returned = thing.returns if isinstance(thing, griffe.Function) else None
        returns = "" if returned is None else f" -> {self._type(returned)}"
        return f"({', '.join(parts)}){returns}"

    def _type(self, annotation: griffe.Expr | str) -> str:
        """Write a type, what the reference has by its full name there."""
        if isinstance(annotation, str):
            return annotation
        flat = list(annotation.iterate(flat=True))
        parts = [str(part) for part in flat]
        for number, part in enumerate(flat):
            dotted = "." in [str(near) for near in flat[max(number - 1, 0) : number + 2]]
            if not isinstance(part, griffe.ExprName) or dotted:
                continue
            full = part.canonical_path
            if full in self.names:
                parts[number] = self.names[full]
            elif "." in full and not full.startswith("nmpack."):
                # With its whole name, which is not shown, it is taken for nothing of ours.
                parts[number] = f"~{full}"
        return "".join(parts)


def _docstring(
    thing: griffe.Object, what: Literal["module", "class", "function", "method", "data"]
) -> list[str]:
    if thing.docstring is None:
        return []
    text = str(GoogleDocstring(thing.docstring.value, _CONFIG, what=what))
    return [*text.rstrip().splitlines(), ""]


def _comment_above(thing: griffe.Attribute) -> list[str]:
    """Return the lines ``#: ...`` that stand above a value."""
    if thing.lineno is None or not isinstance(thing.filepath, Path):
        return []
    lines = thing.filepath.read_text(encoding="utf-8").splitlines()
    found: list[str] = []
    for line in reversed(lines[: thing.lineno - 1]):
        if not line.strip().startswith("#:"):
            break
        found.insert(0, line.strip()[2:].strip())
    return [*found, ""]


def _first_line(thing: griffe.Object) -> str:
    """Return the first paragraph of a docstring, in one line."""
    text = thing.docstring.value if thing.docstring else ""
    return re.sub(r"^nmpack: ", "", " ".join(text.split("\n\n")[0].split()))


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _indented(lines: list[str], by: str = "   ") -> Iterator[str]:
    yield from textwrap.indent("\n".join(lines), by).splitlines()
    yield ""
