# SPDX-License-Identifier: BSD-3-Clause
"""What the package offers, read from its sources: nothing of it is imported.

``_MODULES`` of ``nmpack/__init__.py`` lists the modules that ``import nmpack`` reaches. A module
offers the names of its ``__all__``, or without one what it defines under a name of no underscore.
What the signatures of all that name, classes of results most of all, is offered too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import griffe

#: Reached by their own names alone.
ALSO = ("nmpack.errors", "nmpack.tflite.file", "nmpack.tflite.model")


class SiteError(Exception):
    """The sources are not as the site expects them; one sentence."""


@dataclass
class Offered:
    """One module as users write it.

    Attributes:
        name: as in ``import nmpack.schedule``.
        module: where it lies.
        objects: by the name under which it is offered.
        aliases: names that another module offers already, and the full name there.
        types: by their own full names, what signatures name.
    """

    name: str
    module: griffe.Module
    objects: dict[str, griffe.Object] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    types: dict[str, griffe.Object] = field(default_factory=dict)


def load(folder: Path) -> griffe.Module:
    """Read the package ``nmpack`` below ``folder``."""
    loader = griffe.GriffeLoader(search_paths=[str(folder)], allow_inspection=False)
    package = loader.load("nmpack")
    loader.resolve_aliases(implicit=True, external=False)
    assert isinstance(package, griffe.Module)
    return package


def offered(package: griffe.Module) -> list[Offered]:
    """Return every module that has something to offer, ``nmpack`` first, then by name."""
    places = {"nmpack": "nmpack", **{name: name for name in ALSO}}
    places |= {f"nmpack.{name}": f"nmpack.{place}" for name, place in _lazy(package).items()}
    order = ["nmpack", *sorted(set(places) - {"nmpack"})]
    pages = [Offered(name, _module(package, places[name])) for name in order]
    seen: dict[str, str] = {}
    for page in pages:
        for name in _names(page.module):
            thing = _definition(package, page.module, name)
            full = f"{page.name}.{name}"
            if thing.path in seen:
                page.aliases[name] = seen[thing.path]
            else:
                seen[thing.path] = full
                page.objects[name] = thing
    for page in pages:
        waiting = list(page.objects.values())
        while waiting:
            for thing in _named_by(package, waiting.pop()):
                if thing.path not in seen:
                    seen[thing.path] = thing.path
                    page.types[thing.path] = thing
                    waiting.append(thing)
    return [page for page in pages if page.objects or page.aliases]


def members(thing: griffe.Object) -> Iterator[griffe.Function | griffe.Attribute]:
    """Yield what a class offers: methods and properties of its own that say what they do."""
    for name, member in thing.members.items():
        if name.startswith("_") or member.is_alias or not member.has_docstring:
            continue
        if isinstance(member, griffe.Function | griffe.Attribute):
            yield member


def parameters(thing: griffe.Object) -> list[griffe.Parameter]:
    """Return what a function, or the making of a class, takes."""
    function: object = thing
    if isinstance(thing, griffe.Class):
        try:
            function = thing["__init__"]
        except KeyError:
            return []
    if not isinstance(function, griffe.Function):
        return []
    return [each for each in function.parameters if each.name not in ("self", "cls")]


def _lazy(package: griffe.Module) -> dict[str, str]:
    value = package.members.get("_MODULES")
    try:
        table = ast.literal_eval(str(value.value))  # type: ignore[union-attr]
        return {str(name): str(row[0]) for name, row in table.items()}
    except (AttributeError, ValueError, SyntaxError, IndexError) as error:
        raise SiteError(
            "nmpack/__init__.py: expected _MODULES, a table of names and the modules they stand "
            f"for, got {value}"
        ) from error


def _module(package: griffe.Module, path: str) -> griffe.Module:
    try:
        module = package[path.removeprefix("nmpack").lstrip(".")] if path != "nmpack" else package
    except KeyError as error:
        raise SiteError(f"nmpack/__init__.py: _MODULES names {path}, which is nowhere") from error
    assert isinstance(module, griffe.Module)
    return module


def _names(module: griffe.Module) -> list[str]:
    if module.exports is not None:
        return sorted(str(name) for name in module.exports)
    return [
        name
        for name, member in module.members.items()
        if not name.startswith("_")
        and not member.is_alias
        and not isinstance(member, griffe.Module)
        and (member.has_docstring or isinstance(member, griffe.Attribute))
        and not _is_type_variable(member)
    ]


def _is_type_variable(member: griffe.Object | griffe.Alias) -> bool:
    return isinstance(member, griffe.Attribute) and str(member.value).startswith("TypeVar(")


def _definition(package: griffe.Module, module: griffe.Module, name: str) -> griffe.Object:
    """Return what ``name`` of a module stands for, also where ``__getattr__`` looks it up.

    A function may have the name of the submodule that it comes from; then it is meant.
    """
    member = module.members.get(name)
    if isinstance(member, griffe.Module):
        return find(package, module.imports.get(name, "")) or member
    if member is None:
        found = [inner.members[name] for inner in module.modules.values() if name in inner.members]
        member = next((each for each in found if not each.is_alias), None)
    if isinstance(member, griffe.Alias):
        member = member.final_target
    if member is None:
        raise SiteError(f"{module.path}: __all__ has {name}, which nothing there defines")
    return member


def _named_by(package: griffe.Module, thing: griffe.Object) -> Iterator[griffe.Object]:
    """Yield what of the package the annotations of ``thing`` and its members name."""
    annotations = [each.annotation for each in parameters(thing)]
    if isinstance(thing, griffe.Function):
        annotations.append(thing.returns)
    elif isinstance(thing, griffe.Attribute):
        annotations.append(thing.annotation)
    else:
        for member in members(thing):
            yield from _named_by(package, member)
    for annotation in annotations:
        if not isinstance(annotation, griffe.Expr):
            continue
        for part in annotation.iterate(flat=True):
            if isinstance(part, griffe.ExprName):
                other = find(package, part.canonical_path)
                if isinstance(other, griffe.Class) or (
                    isinstance(other, griffe.Attribute) and not other.name.startswith("_")
                ):
                    yield other


def find(package: griffe.Module, path: str) -> griffe.Object | None:
    """Return what the package has at a full name, or None."""
    if not path.startswith("nmpack."):
        return None
    try:
        found = package[path.removeprefix("nmpack.")]
        return found.final_target if isinstance(found, griffe.Alias) else found
    except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None
