# SPDX-License-Identifier: BSD-3-Clause
"""third_party/pins.toml, read and checked."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .console import ToolError
from .tomlfile import read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
_HASH = re.compile(r"[0-9a-f]{40}\Z")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_KEYS = {"name", "url", "commit", "tag", "tree", "files", "licence", "why", "distribution"}
_DISTRIBUTION_KEYS = {"package", "version", "suites", "suffix"}


@dataclass(frozen=True, slots=True)
class Distribution:
    """A source package of the distribution whose .orig archive holds the pinned content."""

    package: str
    version: str
    suites: tuple[str, ...]
    suffix: str

    @property
    def archive(self) -> str:
        return f"{self.package}_{self.version}.orig.{self.suffix}"

    @property
    def pool_path(self) -> str:
        prefix = self.package[:4] if self.package.startswith("lib") else self.package[0]
        return f"pool/main/{prefix}/{self.package}/{self.archive}"


@dataclass(frozen=True, slots=True)
class Pin:
    """One source: either the whole tree (``tree``) or a subset (``files``: path to blob id)."""

    name: str
    url: str
    ref: str
    tree: str | None
    files: dict[str, str] | None
    licence: str
    why: str
    distribution: Distribution | None

    @property
    def upstream_url(self) -> str:
        return f"{self.url}/archive/{self.ref}.tar.gz"

    @property
    def upstream_archive(self) -> str:
        return f"{self.name}-{self.ref}.tar.gz"

    @property
    def identity(self) -> str:
        """What the content must be, as one string."""
        if self.tree is not None:
            return f"tree {self.tree}"
        assert self.files is not None
        listing = "".join(f"{oid} {path}\n" for path, oid in sorted(self.files.items()))
        return f"files {hashlib.sha256(listing.encode()).hexdigest()}"


def load_pins(path: Path) -> list[Pin]:
    """Reads pins.toml; raises ToolError with one sentence for anything malformed."""
    data = read_toml(path, path, "it lists the sources to fetch")
    sources = data.get("source")
    if not isinstance(sources, list) or not sources or set(data) != {"source"}:
        raise ToolError(f"{path} must hold [[source]] tables and nothing else")
    pins = [_pin(path, index, row) for index, row in enumerate(sources, 1)]
    names = [pin.name for pin in pins]
    for name in names:
        if names.count(name) > 1:
            raise ToolError(f"{path} pins {name} more than once")
    return pins


def _pin(path: Path, index: int, row: object) -> Pin:
    if not isinstance(row, dict):
        raise ToolError(f"{path}: source {index} is not a table")
    label = row.get("name", f"source {index}")

    def bad(reason: str) -> ToolError:
        return ToolError(f"{path}: {label}: {reason}")

    def text(key: str, table: dict[str, object] = row) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise bad(f"'{key}' must be a non-empty string, got {value!r}")
        return value

    if unknown := set(row) - _KEYS:
        raise bad(f"unknown key '{min(unknown)}', expected one of {', '.join(sorted(_KEYS))}")
    name = text("name")
    if not _NAME.match(name):
        raise bad("'name' must be lower-case letters, digits, '-' and '_'")
    url = text("url").rstrip("/")
    if not re.match(r"https?://", url):
        raise bad(f"'url' must start with https://, got {url!r}")
    if ("commit" in row) == ("tag" in row):
        raise bad("exactly one of 'commit' and 'tag' must be given")
    ref = text("commit" if "commit" in row else "tag")
    if "commit" in row and not _HASH.match(ref):
        raise bad(f"'commit' must be 40 hexadecimal digits, got {ref!r}")
    if not _TAG.match(ref):
        raise bad(f"'tag' may hold letters, digits, '.', '_' and '-', got {ref!r}")
    if ("tree" in row) == ("files" in row):
        raise bad("exactly one of 'tree' (a whole tree) and 'files' (a subset) must be given")
    tree = files = None
    if "tree" in row:
        tree = text("tree")
        if not _HASH.match(tree):
            raise bad(f"'tree' must be 40 hexadecimal digits, got {tree!r}")
    else:
        files = load_file_list(path.parent / text("files"))
    return Pin(
        name=name,
        url=url,
        ref=ref,
        tree=tree,
        files=files,
        licence=text("licence"),
        why=text("why"),
        distribution=_distribution(row["distribution"], bad) if "distribution" in row else None,
    )


def _distribution(table: object, bad) -> Distribution:  # type: ignore[no-untyped-def]
    if not isinstance(table, dict) or set(table) != _DISTRIBUTION_KEYS:
        raise bad(f"'distribution' must hold exactly {', '.join(sorted(_DISTRIBUTION_KEYS))}")
    for key in ("package", "version", "suffix"):
        value = table[key]
        if not isinstance(value, str) or not re.match(r"[A-Za-z0-9][A-Za-z0-9.+~-]*\Z", value):
            raise bad(f"distribution: '{key}' is malformed: {value!r}")
    suites = table["suites"]
    if not isinstance(suites, list) or not all(isinstance(s, str) and s for s in suites):
        raise bad("distribution: 'suites' must be a list of names")
    return Distribution(table["package"], table["version"], tuple(suites), table["suffix"])


def load_file_list(path: Path) -> dict[str, str]:
    """Reads ``<blob id>  <path>`` lines; '#' starts a comment line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ToolError(f"{path} is missing: pins.toml names it") from None
    files: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        oid, _, name = line.partition("  ")
        parts = PurePosixPath(name).parts
        if not _HASH.match(oid) or not name or name.startswith("/") or ".." in parts:
            raise ToolError(f"{path}:{number}: expected '<blob id>  <path>', got {line!r}")
        if name in files:
            raise ToolError(f"{path}:{number}: {name} is listed twice")
        files[name] = oid
    if not files:
        raise ToolError(f"{path} lists no file")
    return files
