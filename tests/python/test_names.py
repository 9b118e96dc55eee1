# SPDX-License-Identifier: BSD-3-Clause
"""``import nmpack`` reaches all that its docstring and the documentation name, and stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nmpack

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ("torch", "keras", "tensorflow", "ai_edge_litert", "litert_torch", "accelerate")


def promised() -> dict[str, list[str]]:
    """Return every dotted name in the docstring and the documents, by its first part."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [nmpack.__doc__ or "", *(path.read_text(encoding="utf-8") for path in documents)]
    found: dict[str, list[str]] = {}
    for text in texts:
        # What follows -m is a program, not a name of the library.
        for name in re.findall(r"(?<!-m )\bnmpack\.((?:[A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*)", text):
            found.setdefault(name.split(".")[0], []).append(name)
    return found


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=ROOT / "python", timeout=600,
    )  # fmt: skip


def test_the_documents_name_the_parts() -> None:
    assert {"models", "convert", "training", "budget", "schedule", "run"} <= promised().keys()
    assert "torch.prune_" in promised()["torch"]


@pytest.mark.torch
@pytest.mark.keras
@pytest.mark.parametrize("part", sorted(promised()))
def test_promised_names_are_there_after_import_nmpack(part: str) -> None:
    """In a process of its own: here other tests have imported the modules already."""
    code = "; ".join(f"nmpack.{name}" for name in sorted(set(promised()[part])))
    done = python(f"import nmpack; {code}; print('there')")
    assert done.stdout == "there\n", done.stderr


def test_modules_are_listed_and_not_imported() -> None:
    done = python(
        "import sys, nmpack; names = dir(nmpack); "
        "print([n for n in ('models', 'torch', 'keras', 'budget', 'run') if n not in names], "
        f"[n for n in {FRAMEWORKS} if n in sys.modules])"
    )
    assert done.stdout == "[] []\n", done.stderr


def test_import_nmpack_brings_not_even_numpy() -> None:
    done = python("import sys, nmpack; print('numpy' in sys.modules, nmpack.NMPattern(1, 4))")
    assert done.stdout == "False 1:4 kept, tile 32\n", done.stderr


def test_a_module_comes_alone() -> None:
    done = python(
        "import sys, nmpack; nmpack.models; nmpack.convert; nmpack.schedule; nmpack.storage; "
        f"print([n for n in {FRAMEWORKS} if n in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("name", ["modles", "_models", "__main__", "models_", "numpy_"])
def test_an_unknown_name_is_the_usual_error(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'nmpack' has no attribute '{name}'"):
        getattr(nmpack, name)


def test_a_framework_that_is_absent_is_named_with_its_extra() -> None:
    done = python(
        "import sys; sys.modules['torch'] = None\nimport nmpack\n"
        "try: nmpack.torch\nexcept nmpack.NmpackError as error: print(error)"
    )
    assert "nmpack.torch cannot be imported" in done.stdout, done.stderr
    assert "pip install 'nmpack[torch]'" in done.stdout


@pytest.mark.slow
def test_a_type_checker_sees_the_modules_and_no_others(tmp_path: Path) -> None:
    code = tmp_path / "user.py"
    code.write_text(
        "import nmpack\n"
        "reveal_type(nmpack.models.build)\n"
        "reveal_type(nmpack.convert.torch_to_tflite)\n"
        "nmpack.modles\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(code)],
        env={"MYPYPATH": str(ROOT / "python"), "PATH": ""},
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=600,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    assert len(lines) == 3, done.stdout
    assert all('Revealed type is "def (' in line for line in lines[:2]), done.stdout
    assert 'Module has no attribute "modles"' in lines[2]
