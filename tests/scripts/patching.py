# SPDX-License-Identifier: BSD-3-Clause
"""A small project with the shape of the real one: two pinned sources, series, an overlay."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from nmpack_tools.githash import file_blob_id, tree_id

# Copies its input, replacing ${NAME} by the value of -D NAME=value, or by what templates make of
# that; fails on an unset name. A line "pause FILE" makes the file and waits.
XNGEN = """\
#!/usr/bin/env python
import pathlib, re, sys, time
args = sys.argv[1:]
values = dict(args[i + 1].split("=") for i, a in enumerate(args) if a == "-D")
values["SUFFIX"] = "_dense" if values.get("DENSE") == "1" else ""
names = {"COPY": "x32_packim2col", "MAX": "f32_maxpool_cnhw", "ADD": "f32_avgpool_cnhw"}
values["NAME"] = names.get(values.get("OP"), "")
text = open(args[0]).read()
for name in re.findall(r"pause (.*)", text):
    pathlib.Path(name).touch()
    time.sleep(60)
out = re.sub(r"\\$\\{(\\w+)\\}", lambda m: values[m[1]], text)
open(args[args.index("-o") + 1], "w").write(out)
"""

# Lists what it knows, prints what it does not, and ends with status 0 in any case.
UPDATE = """\
import pathlib, re
root = pathlib.Path(__file__).resolve().parent.parent
for isa in ("rvv", "scalar"):
    found = sorted(p for p in root.glob("src/**/*.c") if isa in p.stem.split("-"))
    names = "".join(f"  {path.relative_to(root)}\\n" for path in found)
    (root / f"cmake/gen/{isa}_microkernels.cmake").write_text(f"SET(X\\n{names})\\n")
    (root / f"gen/{isa}_microkernels.bzl").write_text(f"X = [\\n{names}]\\n")
seen = {}
for path in sorted(root.glob("src/**/*-*.c")):
    name = path.relative_to(root)
    for kernel in re.findall(r"xnn_\\w+__\\w+", path.read_text()):
        if kernel in seen:
            print(f"Duplicate microkernel definition: {seen[kernel]} and {name} (1th function)")
        seen[kernel] = name
    if not {"rvv", "scalar"} & set(path.stem.split("-")):
        print("Unknown ISA for C microkernel", path.relative_to(root))
"""

HEADER = """\
#define XNN_MAX_NMCONV_KERNELS 2
#define XNN_MAX_NMSPMM_KERNELS 2
#define XNN_MAX_NMSPMM_ROWS 8
// A comment with a struct xnn_nm_costs in it.
struct xnn_nm_costs {
  /// What there is to be predicted.
  float addition;
  float nmconv_percent[XNN_MAX_NMCONV_KERNELS];
  float nmspmm_percent[XNN_MAX_NMSPMM_KERNELS][XNN_MAX_NMSPMM_ROWS];
  float pack_percent[XNN_MAX_NMSPMM_KERNELS];
};
"""
NMCONV_HEADER = "#define XNN_MAX_NMCONV_MR 16\n"
SPEC = """\
[isa]
rvv = { guard = "XNN_ARCH_RISCV", flags = "xnn_arch_riscv_vector", scalable = true }
scalar = { flags = "0" }

[x32-packim2col]
scalar = { strip = "64" }

[f32-nmspmm]
scalar = { pack = "scalar" }

[costs.scalar]
addition = 20
nmconv_percent = [{ 1x4 = 110 }]
nmspmm_percent = [{ 1x8 = 150, 4x8 = 110.5 }]
pack_percent = [100]
measured = ["Not measured."]

[costs.rvv]
nmconv_percent = [{ 7x4v = 118 }, { 14x2v = 120 }]
measured = ["By a model.", "Of what?"]
"""
TEMPLATE = "void xnn_f32_nmconv_minmax_ukernel_${MR}x${LMUL}v__rvv(void) {}\n"
TEMPLATES = {
    "f32-nmconv/rvv.c.in": TEMPLATE,
    "f32-nmconv/scalar.c.in": "void xnn_f32_nmconv_minmax_ukernel_${MR}x${NR}__scalar(void) {}\n",
    "f32-nmspmm/scalar.c.in": "void xnn_f32_nmspmm_minmax_ukernel_"
    "${MR}x${NR}__scalar${SUFFIX}(void) {}\n",
    "x32-packim2col/scalar.c.in": "void xnn_${NAME}_ukernel__scalar(void) {}\n",
}
TRAILERS = "Why-a-patch: no hook exists\nOrigin: vendor\nForwarded: no\nLast-Update: 2026-11-20"
MAIN_C = "".join(f"line {n}\n" for n in range(1, 41))


def make_overlay(folder: Path) -> Path:
    """The smallest kernels/ that a specification of kernels is read from."""
    texts = {
        "include/xnnpack-nm.h": HEADER,
        "src/xnnpack/nmconv.h": NMCONV_HEADER,
        "kernels.toml": SPEC,
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def change(overlay: Path, old: str, new: str, name: str = "kernels.toml") -> None:
    """Replace ``old``, which has to be there, in a file of an overlay."""
    text = (overlay / name).read_text()
    assert old in text
    (overlay / name).write_text(text.replace(old, new))


class Project:
    """Two sources under third_party/, empty series; everything a run of apply_patches.py needs."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self.environment = environment
        self.pristine = root / "third_party" / "xnnpack"
        self.tree = root / "third_party" / "patched" / "xnnpack"
        self.patches = root / "patches" / "xnnpack"
        self.args = ("--root", root)
        self.write("third_party/xnnpack/src/main.c", MAIN_C)
        self.write("third_party/xnnpack/src/old/gen/old-scalar.c", "int old;\n")
        self.write("third_party/xnnpack/tools/xngen", XNGEN).chmod(0o755)
        self.write("third_party/xnnpack/tools/update-microkernels.py", UPDATE)
        self.write("third_party/xnnpack/cmake/gen/scalar_microkernels.cmake", "SET(X)\n")
        self.write("third_party/xnnpack/gen/scalar_microkernels.bzl", "X = []\n")
        # As in XNNPACK, some files would be ignored or converted if git had its way.
        self.write("third_party/xnnpack/.gitignore", "lib/\n*.log\n")
        self.write("third_party/xnnpack/.gitattributes", "*.txt text eol=lf\n*.c diff=cpp\n")
        self.write("third_party/xnnpack/lib/kept.log", "kept\n")
        (self.pristine / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
        (self.pristine / "link").symlink_to("src/main.c")
        self.write("third_party/tensorflow/lite/delegate.cc", MAIN_C)
        self.write("patches/xnnpack/series", "# in this order\n")
        self.write("patches/tflite/series", "")
        self.pin()

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def pin(self) -> None:
        delegate = self.root / "third_party" / "tensorflow" / "lite" / "delegate.cc"
        self.write("third_party/files.txt", f"{file_blob_id(delegate)}  lite/delegate.cc\n")
        rows = (
            ("xnnpack", f'commit = "{"a" * 40}"\ntree = "{tree_id(self.pristine)}"'),
            ("tensorflow", 'tag = "v1"\nfiles = "files.txt"'),
        )
        text = "".join(
            f'[[source]]\nname = "{name}"\nurl = "https://h/{name}"\n{what}\nlicence = "MIT"\n'
            'why = "to be tested"\n'
            for name, what in rows
        )
        self.write("third_party/pins.toml", text)

    def overlay(self) -> None:
        self.write("kernels/kernels.toml", SPEC)
        self.write("kernels/include/xnnpack-nm.h", HEADER)
        self.write("kernels/src/xnnpack/nmconv.h", NMCONV_HEADER)
        for name, text in TEMPLATES.items():
            self.write(f"kernels/src/{name}", text)
        self.write("kernels/src/operators/nm.c", "int operator_nm;\n")

    def git(self, *args: str, tree: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-C", str(tree or self.tree), *args],
            env=self.environment
            | {"GIT_AUTHOR_DATE": "2026-11-20T12:00:00+0100", "GIT_EDITOR": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.tree / name
        text = path.read_bytes().decode()
        assert old in text
        path.write_bytes(text.replace(old, new).encode())

    def commit(self, subject: str, body: str = "Because.", trailers: str = TRAILERS) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"{subject}\n\n{body}\n\n{trailers}")

    def subjects(self) -> list[str]:
        return self.git("log", "--format=%s", "--reverse").splitlines()

    def patch_files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.patches.iterdir())}

    def leftovers(self) -> list[str]:
        return [p.name for p in self.tree.parent.iterdir() if p.name.startswith(".")]

    def times(self) -> dict[str, int]:
        return {
            str(path.relative_to(self.tree)): path.lstat().st_mtime_ns
            for path in self.tree.rglob("*")
            if (path.is_symlink() or path.is_file()) and ".git" not in path.parts
        }

    def age(self) -> None:
        """Makes every file of the tree a day old, as after a coffee break, without git noticing."""
        for path in self.tree.rglob("*"):
            if ".git" not in path.parts and not path.is_dir():
                time = path.lstat().st_mtime_ns - 86_400 * 10**9
                os.utime(path, ns=(time, time), follow_symlinks=False)

    def copy(self, target: Path) -> Project:
        """The same project elsewhere, before anything was built."""
        target.mkdir()
        other = Project(target, self.environment)
        for name in ("kernels", "patches"):
            if (self.root / name).exists():
                shutil.copytree(self.root / name, target / name, dirs_exist_ok=True)
        return other
