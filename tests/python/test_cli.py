# SPDX-License-Identifier: BSD-3-Clause
"""The command line: help that teaches, results, and one line for every error."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nmpack.cli import command_line, distinct, main
from nmpack.errors import NmpackError
from nmpack.models import fashion_resnet

pytestmark = pytest.mark.torch
Models = Callable[[str], Path]
Command = Callable[..., subprocess.CompletedProcess[str]]
VERBS = (
    "models", "search", "prune", "finetune", "checkpoint", "convert", "run", "inspect", "bench",
    "bench-layers", "tune", "profile", "report", "rvv-report",
)  # fmt: skip


def test_a_bare_call_prints_the_map(nmpack_command: Command) -> None:
    done = nmpack_command()
    assert done.returncode == 0
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"nmpack {verb}" in text.split("examples:")[1]


@pytest.mark.parametrize("verb", ["search", "finetune", "checkpoint"])
def test_verbs_for_pytorch_offer_no_keras_models(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert "zoo name" in text
    assert "keras:NAME" not in text


def test_prune_convert_inspect_run(tmp_path: Path, nmpack_command: Command) -> None:
    torch.save(fashion_resnet().state_dict(), tmp_path / "dense.pth")
    arguments = ["--pattern", "2:4", "--tile", "8", "-o", tmp_path / "pruned.pt"]
    done = nmpack_command(
        "prune", tmp_path / "dense.pth", "--arch", "fashion_resnet", *arguments,
        "--exclude", "layer1.1.*", "--json", tmp_path / "prune.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    layers = json.loads((tmp_path / "prune.json").read_text())["layers"]
    assert sum(row["pattern"] == "2:4 kept, tile 8" for row in layers) == 6
    assert {row["reason"] for row in layers} == {
        "", "first convolution (stem)", "excluded by 'layer1.1.*'",
        "linear layers are pruned only where they are selected",
    }  # fmt: skip

    model = tmp_path / "pruned.tflite"
    done = nmpack_command("convert", tmp_path / "pruned.pt", "-o", model)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "dense.pth", "prune.json", "pruned.pt", "pruned.tflite",
    ]  # fmt: skip

    done = nmpack_command("inspect", model, "--no-delegate", "--json", tmp_path / "i.json")
    assert done.returncode == 0, done.stderr
    assert "2:4 kept, tile 8" in done.stdout
    assert json.loads((tmp_path / "i.json").read_text())["schema"] == 3

    np.save(tmp_path / "x.npy", np.ones((2, 28, 28, 1), np.float32))
    done = nmpack_command(
        "run", model, "--no-delegate", "--input", tmp_path / "x.npy",
        "--output", tmp_path / "y.npy", "--compare",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "agrees with the stock ai-edge-litert" in done.stdout
    assert np.load(tmp_path / "y.npy").shape == (2, 10)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("prune resnet51 --sparsity 0.5 -o x.pt", "got 'resnet51'"),
        ("prune fashion_resnet --sparsity 1.5 -o x.pt", "--sparsity must be above 0"),
        ("prune fashion_resnet --pattern 5:4 -o x.pt", "n <= m"),
        ("prune fashion_resnet --pattern half -o x.pt", "'2:4'"),
        ("prune fashion_resnet --pattern 2:7 -o x.pt", "K must be a multiple of M=7"),
        ("prune fashion_resnet --sparsity 0.5 --select q* -o x.pt", "select 'q*' matches no"),
        ("prune fashion_resnet --sparsity 0.5 -o x.onnx", "saved as .pt or .pth"),
        ("prune absent.pt --sparsity 0.5 -o x.pt", "absent.pt is not a file"),
        ("prune text.pt --sparsity 0.5 -o x.pt", "not a checkpoint of plain tensors"),
        ("prune raw.pt --sparsity 0.5 -o x.pt", "give --arch NAME"),
        ("prune raw.pt --arch resnet18 --sparsity 0.5 -o x.pt", "does not fit resnet18"),
        ("convert fashion_resnet -o x.onnx", "ending in .tflite"),
        ("convert fashion_resnet --input-shape 28 -o x.tflite", "H,W,C"),
        ("inspect text.pt --no-delegate", "not a usable .tflite file"),
        (
            "inspect absent.tflite --no-delegate",
            "absent.tflite: cannot be read: No such file",
        ),
        ("report absent.tflite", "absent.tflite: cannot be read: No such file"),
        ("run absent.tflite --no-delegate", "absent.tflite is not a file"),
        ("run text.pt --no-delegate", "ai-edge-litert refuses"),
        ("run text.pt --no-delegate --option nm=off", "takes neither"),
        ("run text.pt --delegate absent.so", "absent.so is not a file"),
        ("run text.pt --option nm", "KEY=VALUE"),
        ("run text.pt --input text.pt --no-delegate", "not a readable .npy"),
        ("run text.pt --no-delegate --threads 300", "1 to 256 threads, got 300"),
        ("bench text.pt --delegate text.pt", "text.pt"),
        ("profile text.pt", "not a usable .tflite file"),
        ("profile absent.tflite --target riscv64", "absent.tflite is not a file"),
        ("profile text.pt --target riscv64 --threads 2", "one thread"),
        ("profile text.pt --runs 1001 --warmup 0", "at most 1000, got 1001 and 0"),
    ],
)
def test_every_error_is_one_line_and_status_1(
    arguments: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pt").write_text("hello, I am no model at all")
    torch.save({"fc.weight": torch.zeros(10, 3)}, "raw.pt")
    before = sorted(Path().iterdir())
    assert main(arguments.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"nmpack {arguments.split()[0]}: error: ")
    assert error.count("\n") == 1
    assert says in error
    assert sorted(Path().iterdir()) == before


def test_every_argument_with_a_file_is_read_or_written() -> None:
    verbs = next(
        action.choices for action in command_line()._actions if isinstance(action.choices, dict)
    )
    found = {
        action.dest
        for verb in verbs.values()
        for action in verb._actions
        if isinstance(action.metavar, str)
        and re.search(r"FILE|MODEL|DATA|WHERE|\.tflite", action.metavar)
    }
    known = {*distinct.READ, *distinct.WRITTEN, "target"}
    assert found == known


@pytest.mark.parametrize(
    "words",
    [
        "bench other.tflite m.tflite --json",
        "bench other.tflite --extra old=m.tflite --json",
        "convert m.tflite --output",
        "finetune resnet18 --checkpoint m.tflite --folder f --output",
        "inspect m.tflite --json",
        "profile m.tflite --json",
        "profile other.tflite --option tuning=m.tflite --json",
        "prune m.tflite --sparsity 0.5 --output",
        "report m.tflite --output",
        "report m.tflite --csv",
        "report other.tflite --baseline m.tflite --overlay",
        "run m.tflite --output",
        "run other.tflite --input m.tflite --output",
        "rvv-report m.tflite --write-baseline",
        "search m.tflite --plot",
        "search m.tflite --sensitivity",
        "tune m.tflite --database",
        "tune m.tflite --output",
        "tune m.tflite --json",
    ],
)
def test_no_result_is_written_over_what_is_read(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(b"weights")
    Path("soft").symlink_to("m.tflite")
    Path("hard").hardlink_to("m.tflite")
    arguments = command_line().parse_args([*words.split(), "soft"])
    option = words.split()[-1]
    for name in ("soft", "hard", "m.tflite", "./m.tflite"):
        setattr(arguments, option.removeprefix("--").replace("-", "_"), name)
        with pytest.raises(
            NmpackError, match=f"^{option}: expected a file of its own to write, got "
        ):
            distinct.require_distinct(arguments)


def test_what_is_written_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tflite").write_bytes(b"weights")
    for words, says in (
        ("inspect m.tflite --json m.tflite", "--json: expected a file of its own to write, got"),
        ("run m.tflite --option report=m.tflite", "--option report: expected a file of its own"),
        ("report m.tflite --json same --csv same", "got same, which is written by this command"),
        (f"inspect m.tflite --json {300 * 'n'}", "m.tflite: not a usable .tflite file"),
    ):
        assert main(words.split()) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert says in error
    assert Path("m.tflite").read_bytes() == b"weights"
    devices = "report m.tflite --json /dev/null --csv /dev/null"
    distinct.require_distinct(command_line().parse_args(devices.split()))


def test_a_path_that_cannot_be_followed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(models("pruned"))
    monkeypatch.setenv("NMPACK_DELEGATE", 300 * "n")
    assert main(["run", path]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nmpack run: error: ")
    assert error.endswith(f"{300 * 'n'}: File name too long\n")
    assert error.count("\n") == 1


def test_verbose_shows_the_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NMPACK_VERBOSE", "0")
    assert main(["--verbose", "inspect", "absent.tflite", "--no-delegate"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["nonsense", "bench", "run x --threads 0"])
def test_usage_errors_have_a_status_of_their_own(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments.split())
    assert stop.value.code == 2
    assert "usage: nmpack" in capsys.readouterr().err


def test_a_checkpoint_with_code_in_it_is_not_executed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "executed"),))  # type: ignore[return-value]

    torch.save({"arch": "resnet18", "state_dict": Evil()}, tmp_path / "evil.pt")
    status = main(
        ["prune", str(tmp_path / "evil.pt"), "--sparsity", "0.5", "-o", str(tmp_path / "x.pt")]
    )
    assert status == 1
    assert "not a checkpoint of plain tensors" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


def test_importing_nmpack_imports_no_framework(nmpack_command: Command) -> None:
    import sys

    code = (
        "import sys, nmpack, nmpack.cli, nmpack.convert, nmpack.models, nmpack.sources; "
        "print([n for n in ('torch', 'keras', 'tensorflow', 'ai_edge_litert', 'litert_torch') "
        "if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parents[2] / "python",
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert nmpack_command("--version").stdout.startswith("nmpack ")
