# SPDX-License-Identifier: BSD-3-Clause
"""HTML and SVG that cannot be broken by what a file names its layers."""

from __future__ import annotations

import base64
import hashlib
import html

from nmpack.tflite.names import printable

_VOID = frozenset({"meta", "link", "br"})


class Markup(str):
    """Text that is markup already; any other is escaped where it is put into an element."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return text as markup, with what controls terminals, or turns text around, replaced."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)))


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """Return an element.

    Args:
        tag: its name.
        content: text, which is escaped, and markup, which is not.
        attributes: ``class_`` is ``class``, other underscores are hyphens; numbers have at most
            two decimals; None is left out.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(_value(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{named}>")
    return Markup(f"<{tag}{named}>{''.join(map(escaped, content))}</{tag}>")


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def document(title: str, style: str, script: str, *body: str) -> str:
    """Return a page that loads nothing, and runs no other script than this one."""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(style)),
    )
    page = element(
        "html", head, element("body", *body, element("script", Markup(script))), lang="en"
    )
    return f"<!DOCTYPE html>\n{page}\n"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
