# SPDX-License-Identifier: BSD-3-Clause
"""nmpack.tune on a board: a real sshd on loopback that runs the riscv64 program under QEMU."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tune_samples import LAYER, MACHINE, small_model

from nmpack.errors import MissingError, NmpackError
from nmpack.locations import cache_folder, find_measure
from nmpack.runtime.qemu import cpu
from nmpack.tune import ssh
from nmpack.tune.measuring import Rig
from nmpack.tune.session import LostError
from nmpack.tune.shapes import Setting
from nmpack.tune.ssh import Board, SshTarget, elf_machine, parse_host, read_board
from nmpack.tune.table import load_table
from nmpack.tune.targets import TargetError, require_kernels

pytestmark = pytest.mark.riscv64
WRAPPER = ("env", f"QEMU_CPU={cpu(256)}", "qemu-riscv64")
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
"""


def find_sshd() -> list[str]:
    """How the sshd is started that lies beside the system, on its own loader and libraries."""
    root = next((cache_folder() / "sshd").glob("*/usr/sbin/sshd"), Path("/")).parents[2]
    loader = next(root.glob("lib/*/ld-linux-*.so.*"), None)
    if loader is None:
        pytest.fail("there is no sshd: run scripts/make_sysroot.py sshd", pytrace=False)
    libraries = f"{loader.parent}:{root / 'usr/lib' / loader.parent.name}"
    # It would start itself again for each connection, without them: -r.
    sshd = str(root / "usr/sbin/sshd")
    return [str(loader), "--library-path", libraries, "--argv0", sshd, sshd, "-r"]


class Server:
    """A sshd of our own, and how it is reached."""

    def __init__(self, sshd: Sequence[str], folder: Path) -> None:
        """Make keys and a configuration, and start it."""
        self._sshd, self.folder, self._process = sshd, folder, None
        for name in ("host", "key", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        kind, key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        (folder / "config").write_text(CONFIG.format(port=self.port, folder=folder))
        self.board = Board(
            "127.0.0.1", self.port, getpass.getuser(), str(folder / "key"), str(folder / "there"),
            WRAPPER, (f"UserKnownHostsFile={folder / 'known'}", "GlobalKnownHostsFile=none"),
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if os.geteuid() == 0:  # sshd wants a folder that other users have no use for
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._sshd, "-D", "-e", "-f", self.folder / "config"], stderr=log
            )
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        pytest.fail(f"sshd does not start: {(self.folder / 'log').read_text()}")

    def drop(self) -> int:
        """End all connections; returns how many."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = [int(word) for word in path.read_text().split()]
        for child in children:
            os.kill(child, signal.SIGKILL)
        return len(children)

    def stop(self) -> None:
        """End it and its connections."""
        self.drop()
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sshd; its absence is a failure, not a skip."""
    running = Server(find_sshd(), tmp_path_factory.mktemp("sshd"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def program() -> Path:
    """The riscv64 program; its absence is a failure, not a skip."""
    try:
        return find_measure("riscv64")
    except MissingError as error:
        pytest.fail(f"this test needs riscv64: {error}", pytrace=False)


def test_a_board_is_used_and_the_program_copied_once(server: Server, program: Path) -> None:
    target = SshTarget(server.board, program)
    with Rig(target) as rig:
        assert (rig.machine.architecture, rig.machine.vlen) == ("riscv64", 256)
        definition = rig.define(LAYER, Setting())
        times = rig.run(definition.candidates[0].name, 2, 0.0)
        assert len(times) == 2
    (copy,) = Path(server.board.folder).iterdir()
    assert copy.read_bytes() == program.read_bytes()
    before = copy.stat().st_mtime_ns
    with SshTarget(server.board, program).start() as session:
        assert session.machine() == rig.machine
    assert copy.stat().st_mtime_ns == before
    copy.write_bytes(b"#!/bin/sh\n")
    with SshTarget(server.board, program).start() as session:
        assert session.machine() == rig.machine
    assert copy.read_bytes() == program.read_bytes()


def test_command_line(
    server: Server, tmp_path: Path, nmpack_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    model, board = small_model(tmp_path / "m.tflite"), server.board
    lines = [f"options = {list(board.options)}", f'folder = "{board.folder}"', "port = 1"]
    (tmp_path / "board.toml").write_text("\n".join(lines))
    done = nmpack_command(
        "tune", model, "--target", f"ssh:{board.user}@{board.host}:{board.port}", "--board",
        tmp_path / "board.toml", "--key", board.key, "--run-with", shlex.join(board.wrapper),
        "--budget", "3s", "--database", tmp_path / "r.sqlite", "--output", tmp_path / "t.tuning",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = load_table(tmp_path / "t.tuning")
    assert (table.vlen, table.threads) == (256, 1)
    assert 1 <= len(table.layers) <= 3


def test_a_dropped_connection_is_resumed(server: Server, program: Path) -> None:
    with Rig(SshTarget(server.board, program)) as rig:
        definition = rig.define(LAYER, Setting())
        for item in definition.candidates[:3]:
            assert server.drop() == 1
            assert len(rig.run(item.name, 2, 0.0)) == 2


def test_a_board_that_goes_away_for_a_while(
    server: Server, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Rig(SshTarget(server.board, program)) as rig:
        definition = rig.define(LAYER, Setting())
        server.stop()
        monkeypatch.setattr(ssh, "_RETURN_SECONDS", 1.0)
        try:
            with pytest.raises(LostError, match=r"127\.0\.0\.1: cannot be reached: .*refused"):
                rig.run(definition.candidates[0].name, 1, 0.0)
        finally:
            server.start()


def test_a_board_that_cannot_be_reached(server: Server, program: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LostError) as caught:
        SshTarget(replace(server.board, port=port), program).start()
    assert str(caught.value).startswith("127.0.0.1: cannot be reached: ")
    assert str(caught.value).endswith("Connection refused")


def test_a_key_that_is_refused(server: Server, program: Path) -> None:
    board = replace(server.board, key=str(server.folder / "stranger"))
    with pytest.raises(TargetError, match=r"^127\.0\.0\.1: the board refuses the key or the user"):
        SshTarget(board, program).start()


def test_a_board_that_is_not_known(server: Server, program: Path) -> None:
    board = replace(server.board, options=("UserKnownHostsFile=none", "GlobalKnownHostsFile=none"))
    with pytest.raises(TargetError, match="own key is not the one that is known"):
        SshTarget(board, program).start()


def test_a_board_of_another_architecture(server: Server, program: Path) -> None:
    board = replace(server.board, wrapper=())
    sentence = f"is of the architecture {os.uname().machine}, {program.name} is built for riscv64"
    with pytest.raises(TargetError, match=sentence):
        SshTarget(board, program).start()


def test_a_disk_that_is_full(server: Server, program: Path, tmp_path: Path) -> None:
    board = replace(server.board, folder=str(tmp_path / "there"))
    target = SshTarget(board, program)
    (tmp_path / "there").mkdir()
    (tmp_path / (target.path.removeprefix(f"{tmp_path}/") + ".part")).symlink_to("/dev/full")
    with pytest.raises(TargetError, match=r"the disk there is full: .*No space left on device"):
        target.start()
    assert list((tmp_path / "there").iterdir()) == []


def test_a_folder_that_cannot_be_made(server: Server, program: Path) -> None:
    board = replace(server.board, folder="/dev/null/x y'z")
    with pytest.raises(TargetError, match=r"cannot be copied there: .*Not a directory"):
        SshTarget(board, program).start()


@pytest.mark.parametrize(
    ("wrapper", "reason"),
    [
        (("/nowhere/qemu-riscv64",), "the program does not run there: .*not found"),
        (("/dev/null",), "the program does not run there: .*Permission denied"),
        (("false",), "nmpack-measure ended with status 1"),
        (("sh", "-c", "kill -ILL $$"), "nmpack-measure crashed with SIGILL"),
    ],
)
def test_a_program_that_does_not_run_there(
    server: Server, program: Path, wrapper: tuple[str, ...], reason: str
) -> None:
    target = SshTarget(replace(server.board, wrapper=wrapper), program)
    with target.start() as session, pytest.raises(NmpackError, match=reason):
        session.machine()


def test_a_program_of_other_kernels() -> None:
    require_kernels(MACHINE, None, "board")
    require_kernels(MACHINE, MACHINE.kernels, "board")
    with pytest.raises(TargetError, match=r"other kernels \(0123456789abcdef\) than .* \(ffff"):
        require_kernels(MACHINE, "f" * 16, "board")


def test_a_board_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text('host = "b"\nport = 2222\nwrapper = ["env", "A=1"]\noptions = []\n')
    board = read_board(path)
    assert board == Board("b", 2222, wrapper=("env", "A=1"))
    assert parse_host("me@other", board) == replace(board, host="other", user="me")
    assert parse_host("other:22", board).port == 22
    assert parse_host("fe80::1").host == "fe80::1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("host = 3", "host has to be of type str"),
        ('host = "b"\nport = "22"', "port has to be of type int"),
        ('host = "b"\nport = true', "port has to be of type int"),
        ('host = "b"\nport = 70000', "port from 1 to 65535"),
        ('host = "b"\nwrapper = [1]', "wrapper has to be of type list"),
        ('host = "b"\nmore = 1', "got 'more'"),
        ('host = "-oProxyCommand=x"', "expected the host"),
        ('host = "b"\nuser = "-x"', "expected the user"),
        ('host = "b"\nfolder = ""', "expected a folder"),
        ("port = 22", "names no host"),
        ("host = ", "cannot be read"),
    ],
)
def test_hostile_files(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(text)
    with pytest.raises(NmpackError, match=reason):
        read_board(path)


@pytest.mark.parametrize("text", ["", "-oProxyCommand=x", "a@b:x", "a b", "me@", "b:99999"])
def test_hostile_hosts(text: str) -> None:
    with pytest.raises(NmpackError):
        parse_host(text)


def test_architectures_of_programs(tmp_path: Path) -> None:
    def header(number: int) -> bytes:
        return b"\x7fELF\x02\x01" + bytes(12) + struct.pack("<H", number)

    names = [elf_machine(header(number), tmp_path) for number in (62, 183, 243, 8)]
    assert names == ["x86_64", "aarch64", "riscv64", "ELF machine 8"]
    for bad in (b"", b"#!/bin/sh\n", header(62)[:19]):
        with pytest.raises(TargetError, match="expected a 64-bit"):
            elf_machine(bad, tmp_path)
