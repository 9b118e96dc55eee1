#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Builds and runs the project's containers, also where no image registry can be reached.

  containers.py build ci         container/Containerfile, what continuous integration tests in
  containers.py run ci           scripts/test.sh in it; another command follows --
  containers.py build riscv64    container/riscv64.Containerfile: the wheel in dist/ on riscv64
  containers.py run riscv64      a pruned ResNet-18 there, at VLEN 128 and 256, compared with the
                                 stock interpreter of this machine; another command follows --
  containers.py clean            removes images and bases

The base of each is a minimal Debian that mmdebstrap makes from the mirror that this machine's apt
sources name; --registry takes the one that the Containerfile names from its registry. It takes
root, and Debian's buildah and mmdebstrap; riscv64 on another processor takes qemu-user-static and
binfmt-support, too.

Bases, by suite and day, and images are in $XDG_CACHE_HOME/nmpack/containers (~/.cache when
XDG_CACHE_HOME is unset), apart from images of yours. A container is removed when its command has
ended; it works on a copy of this tree's files, removed likewise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmpack_tools import debian_root, distribution
from nmpack_tools.buildah import Buildah
from nmpack_tools.cache import cache_folder
from nmpack_tools.console import ToolError, exclusive, run_main, say
from nmpack_tools.distribution import OWN

ROOT = Path(__file__).resolve().parent.parent
CACHE = cache_folder() / "containers"
VLENS = (128, 256)
TREE = "tree-"


@dataclass(frozen=True, slots=True)
class Container:
    """An image, what it is made of, and the architecture it is for."""

    tag: str
    file: str
    base: str
    suite: str
    arch: str


CONTAINERS = {
    "ci": Container(
        "localhost/nmpack",
        "container/Containerfile",
        "docker.io/library/debian:bookworm-slim",
        "bookworm",
        OWN,
    ),
    "riscv64": Container(
        "localhost/nmpack-riscv64",
        "container/riscv64.Containerfile",
        "docker.io/library/debian:trixie-slim",
        "trixie",
        "riscv64",
    ),
}


def make_base(buildah: Buildah, container: Container, mirror: str | None) -> None:
    """Make the image that the Containerfile starts from, unless today's is there."""
    day = time.strftime("%Y%m%d", time.gmtime())
    archive = CACHE / f"{container.suite}-{container.arch}-{day}.tar"
    if archive.exists() and buildah.has(container.base):
        return
    if not archive.exists():
        mirror = distribution.mirror_of(container.suite, mirror)
        say(f"  making a minimal {container.suite} for {container.arch}")
        for old in CACHE.glob(f"{container.suite}-{container.arch}-*.tar"):
            old.unlink()
        part = archive.with_suffix(".part.tar")
        debian_root.make_root(part, container.suite, container.arch, mirror)
        part.rename(archive)
    # Images on yesterday's base, and what was kept of their making.
    for image in filter(buildah.has, (container.tag, container.base)):
        buildah("rmi", "--force", image)
    buildah("rmi", "--prune")
    with buildah.container("scratch") as name:
        buildah("add", "--quiet", name, str(archive), "/")
        buildah("config", "--arch", container.arch, "--os", "linux", "--cmd", "bash", name)
        buildah("commit", "--quiet", name, container.base)


def build(buildah: Buildah, container: Container, arguments: argparse.Namespace) -> None:
    """Make the base and, with the Containerfile, the image."""
    if container.arch == "riscv64" and not list((ROOT / "dist").glob("nmpack-*_riscv64.whl")):
        raise ToolError(
            "expected a wheel dist/nmpack-*_riscv64.whl, found none; run scripts/build_wheels.py"
        )
    started = time.monotonic()
    pull = "--pull" if arguments.registry else "--pull-never"
    if not arguments.registry:
        make_base(buildah, container, arguments.mirror)
    say(f"  building {container.tag} from {container.file}")
    status = buildah.show(
        "bud", pull, "--layers", "--network", "host", "--platform", f"linux/{container.arch}",
        "--tag", container.tag, "--file", str(ROOT / container.file), str(ROOT),
    )  # fmt: skip
    if status != 0:
        raise ToolError(f"{container.file} does not build; what failed is above")
    say(f"built {container.tag} in {time.monotonic() - started:.0f} s")


def run(buildah: Buildah, container: Container, options: Sequence[str], *command: str) -> None:
    """Run a command in a new container of the image; raise ToolError when it fails."""
    if not buildah.has(container.tag):
        raise ToolError(f"expected the image {container.tag}, found none; build it first")
    with buildah.container(container.tag) as name:
        status = buildah.show("run", "--network", "host", *options, name, "--", *command)
    if status != 0:
        raise ToolError(f"{' '.join(command)} ended with status {status} in {container.tag}")


@contextlib.contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of the files that git knows or would add: no build of this machine's is touched."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        stdout=subprocess.PIPE,
        check=True,
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TREE, dir=CACHE) as folder:
        for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
            source, target = ROOT / name, Path(folder) / name
            if source.is_file() or source.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        yield Path(folder)


def run_ci(buildah: Buildah, container: Container, arguments: argparse.Namespace) -> None:
    """Run tests, or another command, on a copy of this tree."""
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    with copied_tree() as tree:
        volumes = [f"{tree}:/nmpack", f"{downloads}:/cache/nmpack/downloads", *arguments.volume]
        options = [word for one in volumes for word in ("--volume", one)]
        run(buildah, container, options, *(arguments.command or ["./scripts/test.sh"]))


def run_riscv64(buildah: Buildah, container: Container, arguments: argparse.Namespace) -> None:
    """Run a pruned network at each VLEN and compare, or another command."""
    volumes = [word for one in arguments.volume for word in ("--volume", one)]
    if arguments.command:
        run(buildah, container, volumes, *arguments.command)
        return
    python = ROOT / ".venv/bin/python"
    if not python.exists():
        raise ToolError(f"expected {python}, which makes the model, found none; run setup.sh first")
    with tempfile.TemporaryDirectory(prefix="nmpack-") as folder:
        host = [str(python), str(ROOT / "container/network.py")]
        if subprocess.run([*host, "make", folder], check=False).returncode != 0:
            raise ToolError("the model could not be made; the message is above")
        for vlen in VLENS:
            say(f"  running it on riscv64 with vectors of {vlen} bits")
            started = time.monotonic()
            processor = f"QEMU_CPU={debian_root.RISCV64.format(vlen=vlen)}"
            options = [*volumes, "--volume", f"{folder}:/data", "--env", processor]
            output = f"vlen{vlen}.npz"
            run(
                buildah, container, options, "nmpack", "run", "model.tflite", "--input",
                "image.npy", "--output", output, "--option", "report=report.json",
            )  # fmt: skip
            say(f"  took {time.monotonic() - started:.0f} s in the emulator")
            if subprocess.run([*host, "compare", folder, output], check=False).returncode != 0:
                raise ToolError(f"riscv64 at VLEN {vlen} does not agree with this machine")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=("build", "run", "clean"))
    parser.add_argument("name", nargs="?", choices=tuple(CONTAINERS))
    parser.add_argument("--registry", action="store_true", help="take the base from its registry")
    parser.add_argument("--mirror", metavar="URL", help="make the base from this mirror")
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="HERE:THERE[:ro]",
        help="a folder or file of this machine that the command sees, too",
    )
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:at])
    arguments.command = words[at + 1 :]
    if (arguments.name is None) != (arguments.verb == "clean"):
        parser.error(f"expected build or run with one of {', '.join(CONTAINERS)}, or clean alone")
    container = CONTAINERS[arguments.name] if arguments.name else None
    makes_base = arguments.verb == "build" and not arguments.registry
    programs = ("buildah", "mmdebstrap") if makes_base else ("buildah",)
    debian_root.require(programs, container.arch if container else OWN)
    with exclusive(CACHE / ".lock", "containers.py"):
        buildah = Buildah(CACHE)
        # What an interruption may have left behind.
        buildah("rm", "--all")
        for tree in CACHE.glob(f"{TREE}*"):
            shutil.rmtree(tree)
        if container is None:
            buildah("rmi", "--all", "--force")
            shutil.rmtree(CACHE)
        elif arguments.verb == "build":
            build(buildah, container, arguments)
        elif container.arch == "riscv64":
            run_riscv64(buildah, container, arguments)
        else:
            run_ci(buildah, container, arguments)
    return 0


if __name__ == "__main__":
    run_main(main)
