# SPDX-License-Identifier: BSD-3-Clause
"""third_party/patched/<name>: pristine source, one commit a patch, overlay and generated files.

The tree is built beside the old one and takes its place in one step, with a stamp inside that
names everything it was made from. So a tree with a stamp is a whole tree.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from .console import ToolError, say
from .githash import fingerprint
from .gitrepo import BASE, GENERATED_TRAILER, TOP, Repo
from .kernelspec import load_spec
from .overlay import check_lists, copy_overlay, generate, overlay_files, update_lists
from .pins import Pin
from .series import (
    Series,
    file_name,
    label,
    load_series,
    missing_trailers,
    patch_subject,
    write_series,
)
from .specrows import SPEC

_STAMP = "nmpack-stamp.json"
# The code that decides what a tree holds: when it changes, trees are built again.
_TOOLS = (
    "gitrepo.py",
    "kernelbounds.py",
    "kernelcosts.py",
    "kernelfiles.py",
    "kernelspec.py",
    "kerneltypes.py",
    "overlay.py",
    "patchtree.py",
    "series.py",
    "specrows.py",
    "tomlfile.py",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one patched tree comes from and goes to."""

    pin: Pin
    pristine: Path
    patches: Path
    overlay: Path | None
    tree: Path

    @property
    def name(self) -> str:
        return self.pin.name


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a whole tree was made from, and how it looked when it was done."""

    inputs: dict[str, str]
    head: str | None
    fingerprint: str


def inputs(layout: Layout, series: Series) -> dict[str, str]:
    """Digests of all that decides the tree's content: source, patches, overlay, these tools."""
    files: list[tuple[str, bytes]] = []
    if layout.overlay is not None:
        spec = [PurePosixPath(SPEC)] if (layout.overlay / SPEC).is_file() else []
        for relative in [*spec, *overlay_files(layout.overlay)]:
            path = layout.overlay / relative
            files.append((f"{relative} {path.stat().st_mode & 0o100}", path.read_bytes()))
    here = [Path(__file__).with_name(name) for name in _TOOLS]
    return {
        "source": layout.pin.identity,
        "patches": patches_digest(series),
        "overlay": _digest(files),
        "tools": _digest([(path.name, path.read_bytes()) for path in here]),
    }


def patches_digest(series: Series) -> str:
    return _digest(list(series.contents().items()))


def _digest(parts: list[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, content in parts:
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def build(layout: Layout, series: Series, tree: Path) -> Repo:
    """Builds the tree from scratch at ``tree``, which must not exist."""
    if not layout.pristine.is_dir():
        raise ToolError(
            f"the source third_party/{layout.name} is missing; run scripts/fetch_sources.py"
        )
    # Every file is as new as this build of the tree; _keep_times() turns back those that did not
    # change. An old time on changed content would leave stale objects in a build folder.
    shutil.copytree(layout.pristine, tree, symlinks=True, copy_function=shutil.copy)
    repo = Repo(tree)
    repo.create()
    pin = layout.pin
    base = repo.commit_all(f"Pristine {pin.name} {pin.ref}")
    _verify_pristine(layout, repo, base)
    repo.git("update-ref", BASE, base)
    for patch in series.patches:
        repo.apply_mail(patch)
    if layout.overlay is not None:
        add_overlay(layout.overlay, repo)
    repo.git("update-ref", TOP, "HEAD")
    return repo


def add_overlay(overlay: Path, repo: Repo) -> None:
    """Copies the overlay, expands its templates, enters the kernels in the lists, and commits."""
    spec = load_spec(overlay)
    files = copy_overlay(overlay, repo.path)
    made = generate(repo.path, spec, files)
    update_lists(repo.path)
    count = check_lists(repo.path, files, made)
    say(f"  {len(files)} overlay files, {len(made)} generated, {count} kernels in the lists")
    repo.commit_all(f"Overlay and generated files\n\n{GENERATED_TRAILER}")


def _verify_pristine(layout: Layout, repo: Repo, base: str) -> None:
    pin = layout.pin
    if pin.tree is not None:
        right = repo.tree(base) == pin.tree
    else:
        right = {path: oid for path, (_, oid) in repo.blobs(base).items()} == pin.files
    if not right:
        raise ToolError(
            f"third_party/{layout.name} is not the pinned source; run scripts/fetch_sources.py"
        )


def exported(repo: Repo, known: Series) -> dict[str, bytes]:
    """The patches that the tree's commits stand for: file name to bytes, in order.

    A commit whose subject is that of a known patch keeps its file name.
    """
    names = {patch_subject(path.read_bytes()): path.name for path in known.patches}
    base = repo.resolve(BASE)
    if base is None:
        raise ToolError(f"{repo.path} has lost its {BASE}; run scripts/apply_patches.py --force")
    result: dict[str, bytes] = {}
    generated: set[str] = set()
    for commit in repo.commits(base):
        if repo.is_generated(commit):
            generated.update(repo.touched(commit))
    for commit in repo.commits(base):
        if repo.is_generated(commit):
            continue
        subject = repo.subject(commit)
        if subject.startswith(("fixup! ", "squash! ", "amend! ")):
            raise ToolError(
                f"{repo.path.name} holds the commit '{subject}'; fold it first: "
                f"git rebase -i --autosquash {BASE}"
            )
        touched = repo.touched(commit)
        if not touched:
            raise ToolError(
                f"the commit '{subject}' changes no file: drop it, or commit its change"
            )
        if wrong := generated.intersection(touched):
            raise ToolError(
                f"the commit '{subject}' touches {min(wrong)}, which comes from kernels/ or is "
                "generated; change it there"
            )
        name = names.get(subject) or file_name(subject)
        if name in result:
            raise ToolError(
                f"two commits are called '{subject}'; patches need subjects of their own"
            )
        result[name] = repo.format_mail(commit)
    return result


def refresh(layout: Layout, force: bool) -> None:
    """Leaves the patched tree up to date; refuses to lose work that is only in it."""
    series = load_series(layout.patches)
    wanted = inputs(layout, series)
    tree = layout.tree
    for stale in tree.parent.glob(f".{tree.name}.*"):
        shutil.rmtree(stale)
    stamp = _read_stamp(tree)
    if stamp is not None and not force:
        untouched = stamp.fingerprint == fingerprint(tree) and stamp.head == _head(tree)
        if untouched and stamp.inputs == wanted:
            say(f"{layout.name}: up to date")
            return
        if not untouched:
            _refuse_to_lose_work(layout, stamp, series)
            if stamp.inputs == wanted and stamp.head == _head(tree):
                _write_stamp(tree, wanted)  # only file times or ignored files differ
                say(f"{layout.name}: up to date")
                return
    elif tree.exists() and stamp is None:
        say(f"{layout.name}: the patched tree is incomplete, building it again")
    count = len(series.patches)
    say(f"{layout.name}: building the patched tree ({count} patch{'' if count == 1 else 'es'})")
    fresh = tree.parent / f".{tree.name}.new"
    tree.parent.mkdir(parents=True, exist_ok=True)
    try:
        repo = build(layout, series, fresh)
        if tree.is_dir():
            kept, changed = _keep_times(repo, tree)
            say(f"  {changed} files changed, {kept} unchanged")
            repo.try_git("update-index", "-q", "--refresh")
        _write_stamp(fresh, wanted)
        _put_in_place(fresh, tree)
    finally:
        if fresh.exists():
            shutil.rmtree(fresh)
    say(f"{layout.name}: done")


def export(layout: Layout) -> None:
    """Writes the series from the tree's commits."""
    where = f"third_party/patched/{layout.name}"
    stamp = _read_stamp(layout.tree)
    if stamp is None:
        raise ToolError(f"{where} is missing or incomplete; run scripts/apply_patches.py first")
    repo = Repo(layout.tree)
    if dirty := repo.dirty():
        raise ToolError(f"{where} has changes that are not committed ({dirty[0]}): commit them")
    series = load_series(layout.patches)
    contents = exported(repo, series)
    if contents != series.contents() and stamp.inputs.get("patches") != patches_digest(series):
        raise ToolError(
            f"{label(layout.patches)} changed since {where} was built or exported, and an export "
            "would undo that; put the tree's commits aside and run scripts/apply_patches.py first"
        )
    for name, content in contents.items():
        if missing := missing_trailers(content):
            raise ToolError(f"{name} lacks the trailer '{missing[0]}:'; see patches/README.md")
    changes = write_series(layout.patches, contents)
    stamp.inputs["patches"] = patches_digest(load_series(layout.patches))
    _save_stamp(layout.tree, stamp)
    for change in changes:
        say(f"{layout.name}: {change}")
    say(f"{layout.name}: {len(contents)} patches exported, {len(changes)} files written")


def _refuse_to_lose_work(layout: Layout, stamp: Stamp, series: Series) -> None:
    repo = Repo(layout.tree)
    where = f"third_party/patched/{layout.name}"
    way_out = "or --force to throw it away"
    if dirty := repo.dirty():
        raise ToolError(
            f"{where} was edited by hand ({dirty[0]}{', ...' if len(dirty) > 1 else ''}): commit "
            f"that there and run scripts/apply_patches.py --export, {way_out}"
        )
    if repo.head() != stamp.head and exported(repo, series) != series.contents():
        raise ToolError(
            f"{where} has commits that are not in {label(layout.patches / 'series')}: run "
            f"scripts/apply_patches.py --export, {way_out}"
        )


def _head(tree: Path) -> str | None:
    return Repo(tree).resolve("HEAD")


def _read_stamp(tree: Path) -> Stamp | None:
    try:
        stamp = json.loads((tree / ".git" / _STAMP).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(stamp, dict) or set(stamp) != {"inputs", "head", "fingerprint"}:
        return None
    if not isinstance(stamp["inputs"], dict):
        return None
    return Stamp(stamp["inputs"], stamp["head"], stamp["fingerprint"])


def _write_stamp(tree: Path, wanted: dict[str, str]) -> None:
    _save_stamp(tree, Stamp(wanted, _head(tree), fingerprint(tree)))


def _save_stamp(tree: Path, stamp: Stamp) -> None:
    path = tree / ".git" / _STAMP
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(asdict(stamp), indent=1))
    fresh.replace(path)


def _keep_times(repo: Repo, old: Path) -> tuple[int, int]:
    """Gives every file whose content did not change the old file's time, so little is rebuilt."""
    previous = Repo(old)
    if previous.resolve("HEAD") is None:
        return 0, 0
    before, edited = previous.blobs("HEAD"), set(previous.dirty())
    kept = changed = 0
    for path, entry in repo.blobs("HEAD").items():
        if before.get(path) == entry and path not in edited and os.path.lexists(old / path):
            info = os.lstat(old / path)
            times = (info.st_atime_ns, info.st_mtime_ns)
            os.utime(repo.path / path, ns=times, follow_symlinks=False)
            kept += 1
        else:
            changed += 1
    return kept, changed


def _put_in_place(fresh: Path, tree: Path) -> None:
    """Makes ``fresh`` the tree in one step: at every moment there is an old or a new whole tree."""
    if not tree.exists():
        fresh.rename(tree)
        return
    at_fdcwd, exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    if swap is None or swap(at_fdcwd, os.fsencode(fresh), at_fdcwd, os.fsencode(tree), exchange):
        # No such call, or a file system without it: two renames, the next best thing.
        old = tree.parent / f".{tree.name}.old"
        tree.rename(old)
        fresh.rename(tree)
        old.rename(fresh)
    shutil.rmtree(fresh)
