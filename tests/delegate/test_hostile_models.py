# SPDX-License-Identifier: BSD-3-Clause
"""Nothing in a model makes the delegate crash or hang where the interpreter alone does not.

``NMPACK_DAMAGE_SEED`` draws other damage, ``NMPACK_DAMAGE_COUNT`` more of it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hostile_operators  # noqa: F401  adds its cases to the others
import hostile_transformers  # noqa: F401  likewise
import pytest
from hostile_convolutions import CASES
from sound_models import BASES

from nmpack.runtime.interpreter import find_delegate

pytestmark = pytest.mark.delegate
SEED = int(os.environ.get("NMPACK_DAMAGE_SEED", "1"))
COUNT = int(os.environ.get("NMPACK_DAMAGE_COUNT", "150"))


def endings(delegate: str, models: list[Path]) -> list[str]:
    """How each model's process ended with ``delegate``, or with ``none``."""
    worker = Path(__file__).with_name("hostile_worker.py")
    done = subprocess.run(
        [sys.executable, str(worker), delegate, *map(str, models)],
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(models), done.stderr[-2000:]
    return lines


def blame(models: list[Path]) -> None:
    """Fail for every model that dies with the delegate and never without.

    What the interpreter reads out of bounds in a bad model differs from one process to the next, so
    a death counts if it comes again, and the interpreter alone gets as many attempts. Where the
    delegate took no operator, it is the interpreter that ran and died; what the delegate itself
    touches while it declines is seen by the sanitizers (the stage asan-delegate).
    """
    for nm in ("force", "off"):
        delegate = f"{find_delegate()}?nm={nm}"
        for model, end in zip(models, endings(delegate, models), strict=True):
            if end.startswith("signal"):
                alone, again = (endings(who, [model] * 4) for who in ("none", delegate))
                innocent = any(line.startswith("signal") for line in alone) or not any(
                    line.startswith("signal") for line in again
                )
                assert innocent, f"nm={nm}: only the delegate dies of {model.name}: {end}, {again}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_crafted_model_is_left_to_the_interpreter_or_refused(
    case: Callable[[], bytes], tmp_path: Path
) -> None:
    model = tmp_path / f"{case.__name__}.tflite"
    model.write_bytes(case())
    blame([model])
    alone = endings("none", [model] * 3)
    for nm in ("force", "off"):
        ours = endings(f"{find_delegate()}?nm={nm}", [model])[0]
        if set(alone) == {"ok"} and not ours.startswith("signal"):
            assert ours == "ok", f"nm={nm}: the interpreter runs it, ours says {ours}"


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_sound_model_runs(base: Callable[[], bytes], tmp_path: Path) -> None:
    """The models that are damaged below are whole to begin with."""
    model = tmp_path / "model.tflite"
    model.write_bytes(base())
    for delegate in ("none", f"{find_delegate()}?nm=force"):
        assert endings(delegate, [model]) == ["ok"]


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_truncated_model(base: Callable[[], bytes], tmp_path: Path) -> None:
    whole = base()
    models = []
    for length in sorted({len(whole) * i // 40 for i in range(40)} | {len(whole) - 1}):
        path = tmp_path / f"first-{length}.tflite"
        path.write_bytes(whole[:length])
        models.append(path)
    blame(models)


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_damaged_model(base: Callable[[], bytes], tmp_path: Path) -> None:
    """Bytes and words of the file are replaced, also by values that are large as sizes."""
    whole = base()
    generator = random.Random(f"{SEED} {base.__name__}")
    models = []
    for number in range(COUNT):
        damaged = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 5))):
            place = generator.randrange(8, len(whole) - 4)
            kind = generator.randrange(4)
            if kind == 0:
                damaged[place] ^= 1 << generator.randrange(8)
            elif kind == 1:
                damaged[place] = generator.randrange(256)
            else:
                place &= ~3
                value = generator.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**30))
                damaged[place : place + 4] = value.to_bytes(4, "little")
        path = tmp_path / f"seed{SEED}-{base.__name__}-{number}.tflite"
        path.write_bytes(damaged)
        models.append(path)
    blame(models)
