# SPDX-License-Identifier: BSD-3-Clause
"""A board that is reached by OpenSSH: the program is copied there once, and talked to through it.

The system's ``ssh`` is used, with its configuration and agent. Nothing is asked for: a key that
wants a passphrase has to be in an agent, and the board's own key has to be known.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import struct
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from nmpack.errors import MissingError, NmpackError
from nmpack.files import load_toml
from nmpack.refusals import one_line
from nmpack.tflite.names import printable
from nmpack.tune.children import call
from nmpack.tune.session import Command, LostError, Session, explain_end
from nmpack.tune.targets import TargetError, own_kernels

_CALL_SECONDS, _COPY_SECONDS, _RETURN_SECONDS = 60.0, 900.0, 60.0
_DROPPED = 255
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:%@-]{0,252}")
_MACHINES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}
_OPTIONS = (
    "BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3",
    "LogLevel=ERROR",
)  # fmt: skip
_UNREACHABLE = re.compile(
    r"Connection (refused|timed out|reset|closed)|No route|unreachable|Could not resolve|"
    r"timed out|kex_exchange|Broken pipe|not known",
    re.I,
)
_FULL = re.compile(r"No space left|Disk quota exceeded|File too large", re.I)
_DOES_NOT_RUN = re.compile(r"Exec format|cannot execute|not found|Permission denied|No such file")

_LOOK = """uname -m
if [ -x {path} ] && [ "$(sha256sum < {path} | cut -c 1-64)" = {digest} ]
then echo present; else echo absent; fi"""
_COPY = """umask 077
mkdir -p -- {folder} && cat > {part} && chmod 700 {part} || {{ rm -f {part}; exit 9; }}
if [ "$(sha256sum < {part} | cut -c 1-64)" = {digest} ]; then mv -f -- {part} {path}
else rm -f {part}; echo 'the copy has another hash' >&2; exit 9; fi"""


@dataclass(frozen=True, slots=True)
class Board:
    """How a board is reached.

    Attributes:
        host: its name or address, or a name of the user's own configuration of ssh.
        port, user, key: as ``ssh -p``, ``-l`` and ``-i``; what is None is ssh's default.
        folder: on the board, absolute or below the home folder, where the program is kept.
        wrapper: words in front of the program there, such as an emulator; empty on a real board.
        options: of ssh, each as ``-o`` takes it.
    """

    host: str
    port: int | None = None
    user: str | None = None
    key: str | None = None
    folder: str = ".cache/nmpack"
    wrapper: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what would be mistaken for an option of ssh, or is no port.

        Raises:
            NmpackError: something is of another form.
        """
        for what, value in (("host", self.host), ("user", self.user)):
            if value is not None and not _WORD.fullmatch(value):
                raise NmpackError(f"expected the {what} of a board, got {value!r:.80}")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise NmpackError(f"expected a port from 1 to 65535, got {self.port}")
        if not self.folder or self.folder.startswith("-") or not self.folder.isprintable():
            raise NmpackError(f"expected a folder on the board, got {self.folder!r:.80}")


def read_board(path: str | Path, host: str | None = None) -> Board:
    """Read a TOML file with the fields of :class:`Board`; ``host`` goes before the file's.

    Raises:
        NmpackError: it cannot be read, or has something else in it.
    """
    try:
        values = load_toml(Path(path))
    except (OSError, ValueError) as error:
        raise NmpackError(f"{path}: cannot be read: {one_line(error)}") from error
    kinds: Mapping[str, type] = {"port": int, "wrapper": list, "options": list}
    known = [item.name for item in fields(Board)]
    found: dict[str, Any] = {"host": host} if host else {}
    for key, value in values.items():
        if key not in known:
            raise NmpackError(f"{path}: expected {', '.join(known)}, got {key!r:.80}")
        kind = kinds.get(key, str)
        words = value if isinstance(value, list) else []
        if type(value) is not kind or not all(isinstance(word, str) for word in words):
            raise NmpackError(f"{path}: {key} has to be of type {kind.__name__}")
        found.setdefault(key, tuple(words) if kind is list else value)
    if "host" not in found:
        raise NmpackError(f"{path}: names no host")
    return Board(**found)


def parse_host(text: str, board: Board | None = None) -> Board:
    """Read ``[USER@]HOST[:PORT]`` over what a file said.

    Raises:
        NmpackError: it is something else.
    """
    user, _, rest = text.rpartition("@")
    host, colon, port = rest.partition(":") if rest.count(":") == 1 else (rest, "", "")
    if colon and not port.isdecimal():
        raise NmpackError(f"expected ssh:[USER@]HOST[:PORT], got {text!r:.80}")
    base = board or Board(host)
    return replace(base, host=host, user=user or base.user, port=int(port) if port else base.port)


class SshTarget:
    """A board, and the program that is to run there."""

    timed = True

    def __init__(self, board: Board, program: Path) -> None:
        """Take the board; nothing is reached yet. ``path`` is where the program will be there.

        Raises:
            MissingError: there is no ssh.
            TargetError: the program is none.
        """
        if shutil.which("ssh") is None:
            raise MissingError("ssh is not installed: apt-get install openssh-client")
        try:
            content = program.read_bytes()
        except OSError as error:
            raise MissingError(f"{program}: cannot be read: {error.strerror or error}") from error
        self.name, self._board, self._program = board.host, board, program
        self._digest = hashlib.sha256(content).hexdigest()
        self.path = f"{board.folder}/nmpack-measure-{self._digest[:16]}"
        self._machine = elf_machine(content[:20], program)
        self._reached = False

    def counter(self) -> None:
        """Return nothing: time is measured."""

    def expected_kernels(self) -> str | None:
        """Return the hash of this machine's build."""
        return own_kernels()

    def start(self) -> Session:
        """Copy the program if it is not there, and start it.

        A board that was reached before is tried again for a minute.

        Raises:
            LostError: it cannot be reached.
            TargetError: it refuses the key, is of another architecture, is full.
        """
        until, wait = time.monotonic() + _RETURN_SECONDS, 0.5
        while True:
            try:
                self._provide()
                break
            except LostError:
                if not self._reached or time.monotonic() + wait > until:
                    raise
                time.sleep(wait)
                wait *= 2
        self._reached = True
        words = " ".join(map(shlex.quote, [*self._board.wrapper, self._absolute()]))
        # A status behind the program's: ssh itself tells of a signal as of a lost connection.
        return Session(Command(self._argv(f"{words}; exit $?"), self.name, self._explain))

    def _absolute(self) -> str:
        return self.path if self.path.startswith("/") else f"./{self.path}"

    def _provide(self) -> None:
        names = {
            "folder": shlex.quote(self._board.folder),
            "path": shlex.quote(self.path),
            "part": shlex.quote(self.path + ".part"),
            "digest": self._digest,
        }
        said = self._call(_LOOK.format(**names), None, _CALL_SECONDS).split("\n")
        if len(said) != 3 or said[1] not in ("present", "absent"):
            raise TargetError(
                f"{self.name}: expected a shell that says what machine it is on, got "
                f"'{printable(one_line(' '.join(said[:3]))[:80])}'"
            )
        if not self._board.wrapper and said[0] != self._machine:
            raise TargetError(
                f"{self.name} is of the architecture {printable(said[0][:40])}, "
                f"{self._program.name} is built for {self._machine}"
            )
        if said[1] == "absent":
            self._call(_COPY.format(**names), self._program, _COPY_SECONDS)

    def _argv(self, script: str) -> list[str]:
        board = self._board
        argv = ["ssh", "-T"]
        for option in (*board.options, *_OPTIONS):
            argv += ["-o", option]
        if board.key is not None:
            key = str(Path(board.key).expanduser())
            argv += ["-o", "IdentitiesOnly=yes", "-i", key]
        argv += ["-p", str(board.port)] if board.port is not None else []
        argv += ["-l", board.user] if board.user is not None else []
        return [*argv, "--", board.host, f"exec /bin/sh -c {shlex.quote(script)}"]

    def _call(self, script: str, content: Path | None, seconds: float) -> str:
        try:
            status, written, said = call(self._argv(script), content, seconds)
        except subprocess.TimeoutExpired as error:
            raise LostError(
                f"{self.name}: no answer through ssh within {seconds:g} s", dropped=True
            ) from error
        if status != 0:
            raise self._explain(status, said)
        return written

    def _explain(self, status: int, said: str) -> NmpackError:
        told = said or "nothing was said"
        if status == _DROPPED and "Permission denied" in said:
            return TargetError(f"{self.name}: the board refuses the key or the user: {told}")
        if status == _DROPPED and "verification failed" in said:
            return TargetError(
                f"{self.name}: the board's own key is not the one that is known; "
                f"connect once by hand: ssh {self.name}"
            )
        if status == _DROPPED:
            what = "cannot be reached" if _UNREACHABLE.search(said) else "the connection is lost"
            return LostError(f"{self.name}: {what}: {told}", dropped=True)
        if _FULL.search(said):
            return TargetError(f"{self.name}: the disk there is full: {told}")
        if status == 9:
            return TargetError(f"{self.name}: the program cannot be copied there: {told}")
        if status in (126, 127) or (status != 0 and _DOES_NOT_RUN.search(said)):
            return TargetError(f"{self.name}: the program does not run there: {told}")
        return explain_end(self.name)(128 - status if 128 < status < 192 else status, said)


def elf_machine(header: bytes, program: Path) -> str:
    """Return for which architecture a program is built, as ``uname -m`` has it.

    Args:
        header: its first 20 bytes or more.
        program: where it is, for messages.

    Raises:
        TargetError: it is no 64-bit little-endian ELF file.
    """
    if header[:6] != b"\x7fELF\x02\x01" or len(header) < 20:
        raise TargetError(f"{program}: expected a 64-bit little-endian ELF file")
    (number,) = struct.unpack_from("<H", header, 18)
    return _MACHINES.get(number, f"ELF machine {number}")
