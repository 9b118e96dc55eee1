# SPDX-License-Identifier: BSD-3-Clause
"""One run of a script, and what it said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Result:
    """What a script printed and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.out, self.err, self.status = done.stdout, done.stderr, done.returncode

    def ok(self) -> str:
        assert self.status == 0, self.out + self.err
        assert self.err == ""
        return self.out

    def error(self, status: int = 1) -> str:
        """The script must have failed with exactly one line."""
        assert self.status == status, self.out + self.err
        assert len(self.err.splitlines()) == 1, self.err
        assert "Traceback" not in self.err
        return self.err


def own_environment(base: Path) -> dict[str, str]:
    """No proxies, a cache of its own, and git settings of the kind that change what git writes."""
    home = base / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Zoë Müller\nemail = zoe@example.org\n[core]\nautocrlf = true\n"
        "[diff]\nnoprefix = true\nmnemonicPrefix = true\nalgorithm = patience\ncontext = 7\n"
        "[format]\nsignOff = true\nnumbered = true\nsubjectPrefix = X\n"
    )
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return kept | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(base / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_script(environment: dict[str, str], script: str, *args: object) -> Result:
    return Result(
        subprocess.run(
            [sys.executable, str(ROOT / "scripts" / script), *map(str, args)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
    )
