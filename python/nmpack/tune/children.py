# SPDX-License-Identifier: BSD-3-Clause
"""Child processes that may write as much as they like: only the last of it is kept."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from nmpack.refusals import one_line
from nmpack.tflite.names import printable

_KEPT = 4000


class Tail:
    """Reads a stream to its end, in a thread of its own, and keeps the last bytes."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Start reading."""
        self._stream, self._kept = stream, bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while part := self._stream.read1(1 << 16):  # type: ignore[attr-defined]
            self._kept += part
            del self._kept[:-_KEPT]

    def text(self, seconds: float = 1.0) -> str:
        """Return what was kept, once the stream has ended or the time is over."""
        self._thread.join(seconds)
        return self._kept.decode("utf-8", "replace")

    def last_lines(self) -> str:
        """Return the last three lines as one that can be shown."""
        lines = self.text().strip().splitlines()
        return printable(one_line("\n".join(lines[-3:]))) if lines else ""

    def close(self) -> None:
        """Close the stream, which the child has closed or is to close now."""
        self._thread.join(1.0)
        if not self._thread.is_alive():
            self._stream.close()


def call(argv: Sequence[str], content: Path | None, seconds: float) -> tuple[int, str, str]:
    """Run a command.

    Args:
        argv: the command line.
        content: the file that it reads as its standard input; None gives it nothing.
        seconds: that it may take.

    Returns:
        Its status, the end of what it wrote, and the last lines of what it said besides.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was ended.
        OSError: it, or the file, cannot be started or read.
    """
    with (
        Path(content or "/dev/null").open("rb") as source,
        subprocess.Popen(
            argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stderr is not None
        written, said = Tail(child.stdout), Tail(child.stderr)
        try:
            status = child.wait(seconds)
        finally:
            child.kill()
        return status, written.text(), said.last_lines()
