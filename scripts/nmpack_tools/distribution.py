# SPDX-License-Identifier: BSD-3-Clause
"""The distribution's source archives, through the mirror this machine's own apt sources name.

Only the machine's sources are read, never written, and no suite has to be configured: an .orig
archive lies at a known place in a mirror's pool whatever suite it belongs to, and what it must
hold is pinned by hash. So neither package index nor apt's state is needed or touched.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from .console import ToolError, say
from .download import AbsentError, UnreachableError, download
from .pins import Distribution

#: Architectures by what uname calls the machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
#: The architecture of this machine, as the distribution calls it.
OWN = ARCHITECTURES.get(platform.machine(), platform.machine())
_MOVING_SUITES = {"oldstable", "stable", "testing", "unstable", "sid"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One address of an apt source with the suites and components it is used for."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]


def mirrors(extra_suites: tuple[str, ...] = ()) -> list[str]:
    """Addresses of the distribution's main archive in this machine's apt sources, without repeats.

    Vendors' own repositories and the security archive are left out: they hold none of the pins.
    """
    suites = {_codename(), *_MOVING_SUITES, *extra_suites}
    found: dict[str, None] = {}
    for entry in apt_entries():
        plain = {suite for suite in entry.suites if "security" not in suite}
        if "main" in entry.components and any(s.split("-")[0] in suites for s in plain):
            found[entry.uri.rstrip("/")] = None
    return list(found)


def mirror_of(suite: str, given: str | None) -> str:
    """The address ``given``, or that of the first mirror over HTTP that may have the suite."""
    if given is not None:
        return given
    found = [base for base in mirrors((suite,)) if base.startswith("http")]
    if not found:
        raise ToolError(
            "this machine's apt sources name no mirror over HTTP; name one that has Debian "
            f"{suite} with --mirror URL"
        )
    return found[0]


def fetch(pin: Distribution, target: Path) -> str:
    """Downloads the .orig archive to ``target``; returns the source used, in words.

    Raises AbsentError or UnreachableError with the reason when no mirror gave it.
    """
    bases = mirrors(pin.suites)
    if not bases:
        raise UnreachableError("this machine's apt sources name no distribution mirror")
    reasons = []
    for base in bases:
        url = f"{base}/{urllib.parse.quote(pin.pool_path, safe='/')}"
        try:
            if re.match(r"https?://", base):
                download(url, target, pin.package, proxy=_apt_proxy(url))
            else:
                _apt_helper(url, target)
            return f"the distribution's archive {pin.archive}"
        except AbsentError:
            reasons.append("its mirror no longer holds " + pin.archive)
        except UnreachableError as error:
            reasons.append(f"its mirror is unreachable ({error})")
    raise AbsentError("; ".join(dict.fromkeys(reasons)))


def _apt_helper(url: str, target: Path) -> None:
    """Lets apt resolve addresses such as mirror+file:, which only it understands."""
    helper = shutil.which("apt-helper") or "/usr/lib/apt/apt-helper"
    if not Path(helper).exists():
        raise UnreachableError("apt-helper is missing")
    part = target.with_name(target.name + ".apt")
    target.parent.mkdir(parents=True, exist_ok=True)
    say(f"  {target.name}: downloading through apt")
    done = subprocess.run(
        [helper, "-o", "APT::Sandbox::User=root", "download-file", url, str(part)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not part.exists():
        part.unlink(missing_ok=True)
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise AbsentError(f"apt-helper: {lines[-1]}")
    part.replace(target)


def apt_entries() -> list[Entry]:
    """Every enabled binary or source entry of the machine's apt sources, both formats."""
    paths = _apt_source_paths()
    if paths is None:
        return []
    main, parts = paths
    files = [main] if main.is_file() else []
    if parts.is_dir():
        files += sorted(p for p in parts.iterdir() if p.suffix in (".list", ".sources"))
    entries: list[Entry] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # a source only root may read
        entries += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return entries


def parse_one_line(text: str) -> list[Entry]:
    """``deb [options] uri suite component...`` lines."""
    entries = []
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        match = re.match(r"deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s+(.+)", line)
        if match:
            uri, suite, components = match.groups()
            entries.append(Entry(uri, (suite,), tuple(components.split())))
    return entries


def parse_deb822(text: str) -> list[Entry]:
    """Stanzas of ``Key: value`` lines; a line that starts with a blank continues the value."""
    entries = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and key:
                fields[key] += " " + line.strip()
            elif ":" in line:
                name, value = line.split(":", 1)
                key = name.strip().lower()
                fields[key] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        suites = tuple(fields.get("suites", "").split())
        components = tuple(fields.get("components", "").split())
        entries += [Entry(uri, suites, components) for uri in fields.get("uris", "").split()]
    return entries


def _apt_source_paths() -> tuple[Path, Path] | None:
    """Where apt itself looks: sources.list and sources.list.d, as configured here."""
    if shutil.which("apt-config") is None:
        return None
    done = subprocess.run(
        [
            "apt-config",
            "shell",
            "MAIN",
            "Dir::Etc::sourcelist/f",
            "PARTS",
            "Dir::Etc::sourceparts/d",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ToolError(f"apt-config failed: {done.stderr.strip()}")
    values = dict(word.split("=", 1) for word in shlex.split(done.stdout) if "=" in word)
    return Path(values.get("MAIN", "")), Path(values.get("PARTS", ""))


def _apt_proxy(url: str) -> str | None:
    """The proxy apt is told to use for this address, None if apt has no opinion."""
    scheme, host = urllib.parse.urlsplit(url).scheme, urllib.parse.urlsplit(url).hostname or ""
    keys = (
        f"Acquire::{scheme}::Proxy::{host}",
        f"Acquire::{scheme}::Proxy",
        "Acquire::http::Proxy",
    )
    for key in keys:
        done = subprocess.run(
            ["apt-config", "shell", "PROXY", key], capture_output=True, text=True, check=False
        )
        for word in shlex.split(done.stdout):
            if word.startswith("PROXY=") and word != "PROXY=":
                return word.removeprefix("PROXY=")
    return None


def _codename() -> str:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    except OSError:
        return "stable"
