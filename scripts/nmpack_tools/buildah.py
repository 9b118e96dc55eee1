# SPDX-License-Identifier: BSD-3-Clause
"""buildah: images and working containers without a daemon."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .console import ToolError


class Buildah:
    """buildah with a storage of its own in ``folder``."""

    def __init__(self, folder: Path) -> None:
        options = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
        self._command = ["buildah", *options]
        # Neither user namespaces nor a runtime for containers: a change of root is enough here.
        self._environment = {"BUILDAH_ISOLATION": "chroot", **os.environ}

    def __call__(self, *words: str) -> str:
        """Run a subcommand and return what it printed last, such as a container's name."""
        done = subprocess.run(
            [*self._command, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise ToolError(f"buildah {words[0]} failed: {lines[-1]}")
        return (done.stdout.strip().splitlines() or [""])[-1]

    def show(self, *words: str) -> int:
        """Run a subcommand whose output is the user's; return its status."""
        command = [*self._command, *words]
        return subprocess.run(command, env=self._environment, check=False).returncode

    def has(self, image: str) -> bool:
        done = subprocess.run(
            [*self._command, "inspect", "--type", "image", image],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0

    @contextlib.contextmanager
    def container(self, *words: str) -> Iterator[str]:
        """A working container, removed at the end."""
        name = self("from", "--pull-never", *words)
        try:
            yield name
        finally:
            self("rm", name)
