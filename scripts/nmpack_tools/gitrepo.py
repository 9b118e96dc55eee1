# SPDX-License-Identifier: BSD-3-Clause
"""The git commands behind patched trees, with everything that could vary pinned down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from .console import ToolError

BASE = "refs/nmpack/base"
TOP = "refs/nmpack/top"
GENERATED_TRAILER = "Nmpack-generated: yes"

_AUTHOR = "nmpack"
_EMAIL = "nmpack@localhost"
_EPOCH = "2024-11-08T00:00:00+0000"

# Patch text must not depend on the user's settings, on the git version's defaults, or on how many
# objects the repository holds (abbreviated ids).
_DIFF = (
    "--full-index",
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--diff-algorithm=myers",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
_FORMAT = (
    "--zero-commit",
    "--keep-subject",
    "--no-signature",
    "--no-stat",
    "--no-attach",
    "--no-thread",
    "--no-cover-letter",
    "--no-base",
    "--no-encode-email-headers",
    "--no-to",
    "--no-cc",
    "--no-add-header",
)


def git_environment() -> dict[str, str]:
    """No configuration or variables from outside, and a fixed identity."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": _AUTHOR,
        "GIT_AUTHOR_EMAIL": _EMAIL,
        "GIT_AUTHOR_DATE": _EPOCH,
        "GIT_COMMITTER_NAME": _AUTHOR,
        "GIT_COMMITTER_EMAIL": _EMAIL,
        "GIT_COMMITTER_DATE": _EPOCH,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


class Repo:
    """A git repository at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def try_git(self, *args: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        if shutil.which("git") is None:
            raise ToolError("git is missing; install it (Debian: apt-get install git)")
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-C", str(self.path)]
        return subprocess.run(
            [*command, *args],
            input=stdin,
            capture_output=True,
            # Never the project's own repository, should this one have lost its .git.
            env=git_environment() | {"GIT_CEILING_DIRECTORIES": str(self.path.parent)},
            check=False,
        )

    def git(self, *args: str, stdin: bytes | None = None) -> str:
        done = self.try_git(*args, stdin=stdin)
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise ToolError(f"git {args[0]} failed in {self.path}: {reason}")
        return done.stdout.decode(errors="surrogateescape")

    def create(self) -> None:
        """An empty repository whose files are stored exactly as they lie on disk."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", "--template=")
        for key, value in (
            ("core.compression", "1"),
            ("core.autocrlf", "false"),
            ("core.fileMode", "true"),
            ("commit.gpgSign", "false"),
            ("gc.auto", "0"),
        ):
            self.git("config", key, value)
        # Outranks the tree's own .gitattributes: no line-ending or keyword conversion, and hunk
        # headers found by one rule for every file.
        info = self.path / ".git" / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(
            "* -text -ident -filter !diff !eol !working-tree-encoding\n"
        )

    def commit_all(self, message: str) -> str:
        """Commits everything on disk, ignored files included; returns the commit id."""
        # Below this size git writes a file a blob, above it one pack: ten thousand files fewer.
        self.git("-c", "core.bigFileThreshold=1", "add", "--force", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def resolve(self, ref: str) -> str | None:
        done = self.try_git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def tree(self, commit: str) -> str:
        return self.git("rev-parse", f"{commit}^{{tree}}").strip()

    def blobs(self, commit: str) -> dict[str, tuple[str, str]]:
        """Path to (mode, blob id) of every file in a commit."""
        rows = self.git("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
        found = {}
        for row in filter(None, rows):
            meta, path = row.split("\t", 1)
            mode, _, oid = meta.split()
            found[path] = (mode, oid)
        return found

    def dirty(self) -> list[str]:
        """Paths that differ from HEAD or are not tracked; ignored ones do not count."""
        rows = self.git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
        return [row[3:] for row in rows.split("\0") if row]

    def apply_mail(self, patch: Path) -> None:
        """Commits one patch file. Context must match to the letter (git knows no fuzz)."""
        done = self.try_git(
            "am",
            "--quiet",
            "--patch-format=mbox",
            "--keep",
            "--keep-cr",
            "--no-3way",
            "--no-scissors",
            "--no-message-id",
            "--whitespace=nowarn",
            "--committer-date-is-author-date",
            str(patch),
        )
        if done.returncode == 0:
            return
        text = done.stderr.decode(errors="replace") + "\n" + done.stdout.decode(errors="replace")
        self.try_git("am", "--abort")
        raise ToolError(f"{_show(patch)} does not apply: {_am_reason(text)}")

    def commits(self, base: str, tip: str = "HEAD") -> list[str]:
        """Commits after ``base`` up to ``tip``, oldest first."""
        return self.git("rev-list", "--reverse", "--topo-order", f"{base}..{tip}").split()

    def is_generated(self, commit: str) -> bool:
        return GENERATED_TRAILER in self.git("log", "-1", "--format=%B", commit).splitlines()

    def subject(self, commit: str) -> str:
        return self.git("log", "-1", "--format=%s", commit).strip()

    def touched(self, commit: str) -> list[str]:
        out = self.git("diff-tree", "--no-commit-id", "--name-only", "-r", "-z", "--root", commit)
        return [path for path in out.split("\0") if path]

    def format_mail(self, commit: str) -> bytes:
        """The commit as a patch file, the same bytes on every machine."""
        config = ("-c", "diff.indentHeuristic=true", "-c", "diff.noprefix=false")
        done = self.try_git(*config, "format-patch", "--stdout", "-1", *_FORMAT, *_DIFF, commit)
        if done.returncode != 0:
            raise ToolError(
                f"git format-patch failed: {done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout


def _show(patch: Path) -> str:
    return "/".join(patch.parts[-3:])


def _am_reason(text: str) -> str:
    """The lines of git's complaint that name the file and the hunk."""
    wanted = []
    for line in text.splitlines():
        match = re.match(r"(?:error|fatal): (.*)", line)
        if match and "patch does not apply" not in match[1]:
            wanted.append(re.sub(r"^patch failed: (.+):(\d+)$", r"\1, hunk at line \2", match[1]))
    if not wanted and "Patch is empty" in text:
        wanted = ["it holds no diff"]
    if not wanted and "Patch format detection failed" in text:
        wanted = ["it is not in git format-patch form"]
    return "; ".join(dict.fromkeys(wanted)) or text.strip().splitlines()[0]
