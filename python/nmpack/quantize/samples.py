# SPDX-License-Identifier: BSD-3-Clause
"""What a model is calibrated on: arrays from memory, files or a folder of files.

Files are untrusted: nothing in them is executed, and what does not fit ends in one sentence.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nmpack.datasets import fashion
from nmpack.errors import MissingError, NmpackError
from nmpack.refusals import one_line
from nmpack.runtime.child import Signature

Array = npt.NDArray[Any]
Batch = dict[str, Array]
#: Names a data set that needs no file of the user's.
FASHION = "fashion-mnist"
_ENDINGS = (".npy", ".npz")
# An archive of a few kilobytes may unpack to anything.
_MOST_BYTES = 2 << 30


def read_batches(data: Any, inputs: Sequence[Signature], most: int) -> list[Batch]:
    """Return what a model is run on, as ``{input: array of its shape}``.

    Args:
        data: :data:`FASHION`; the path of a ``.npy`` or ``.npz`` file or of a folder of them; an
            array; or arrays by the names of inputs. An array holds samples along its first axis,
            or is a single one; images may have their channels first. Sizes that the model leaves
            open may be any. Where the model has several inputs, arrays have their names.
        inputs: of the model, all with the same batch as their first axis.
        most: how many samples are taken, the first ones; those that fill no batch are left out.

    Raises:
        MissingError: there is no such file.
        NmpackError: a file is damaged or holds objects; a shape or a type does not fit; a value is
            not finite; there are too few samples.
    """
    batch = _batch_of(inputs)
    samples: list[Batch] = []
    for where, part in _parts(data):
        samples += _samples(where, part, inputs, most - len(samples))
        if len(samples) >= most:
            break
    if len(samples) < batch:
        raise NmpackError(
            f"calibration data: expected at least {batch} samples, a batch of the model, got "
            f"{len(samples)} of at most {most}"
        )
    _require_varied(samples, inputs)
    for item in inputs if batch > 1 else ():
        sizes = sorted({sample[item.name].shape for sample in samples})
        if len(sizes) > 1:
            raise NmpackError(
                f"calibration data: {item.name}: expected samples of one size in a batch of "
                f"{batch}, got {list(sizes[0])} and {list(sizes[1])}"
            )
    return [
        {item.name: np.stack([s[item.name] for s in samples[at : at + batch]]) for item in inputs}
        for at in range(0, len(samples) - batch + 1, batch)
    ]


def _require_varied(samples: Sequence[Batch], inputs: Sequence[Signature]) -> None:
    for item in inputs:
        first = samples[0][item.name].flat[0]
        if item.dtype == "float32" and all((s[item.name] == first).all() for s in samples):
            raise NmpackError(
                f"calibration data: {item.name}: expected values like those that the model will "
                f"get, got nothing but {first:g}"
            )


def _batch_of(inputs: Sequence[Signature]) -> int:
    sizes = {max(item.shape[0], 1) if item.shape else 0 for item in inputs}
    if len(sizes) != 1 or 0 in sizes or any(0 in item.shape[1:] for item in inputs):
        shapes = ", ".join(f"{item.name} {list(item.shape)}" for item in inputs)
        raise NmpackError(
            f"expected inputs with elements and one batch as their first axis, got {shapes}"
        )
    return sizes.pop()


def _parts(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield arrays by name, an only one by an empty name, and where they are from."""
    if isinstance(data, str) and data == FASHION:
        yield FASHION, {"": fashion.load("train").images}
    elif isinstance(data, str | Path):
        for path in _files(Path(data)):
            yield str(path), _opened(path)
    elif isinstance(data, Mapping):
        yield "calibration data", {str(name): _array(value) for name, value in data.items()}
    else:
        yield "calibration data", {"": _array(data)}


def _array(value: Any) -> Array:
    try:
        return np.asarray(value)
    except Exception as error:
        raise NmpackError(f"calibration data: expected an array, got {one_line(error)}") from error


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.suffix.lower() in _ENDINGS)
        if not found:
            raise MissingError(f"{path}: expected .npy or .npz files in this folder, got none")
        return found
    if not path.is_file():
        raise MissingError(
            f"{path}: expected {FASHION}, a .npy or .npz file, or a folder of them; there is none"
        )
    if path.suffix.lower() not in _ENDINGS:
        raise NmpackError(f"{path}: expected a file ending in .npy or .npz")
    return [path]


def _opened(path: Path) -> dict[str, Array]:
    """Read a file without unpickling anything."""
    try:
        if path.suffix.lower() == ".npy":
            return {"": np.lib.format.open_memmap(path, mode="r")}
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > _MOST_BYTES:
            raise NmpackError(f"expected arrays of at most {_MOST_BYTES} bytes, got {size}")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise NmpackError(f"{path}: not readable as plain arrays: {one_line(error, 1)}") from error
    return {"": next(iter(found.values()))} if len(found) == 1 else found


def _samples(
    where: str, part: Mapping[str, Array], inputs: Sequence[Signature], most: int
) -> list[Batch]:
    names = [item.name for item in inputs]
    if len(inputs) == 1 and len(part) == 1:
        part = {names[0]: next(iter(part.values()))}
    if set(part) != set(names):
        got = ", ".join(sorted(part)) if set(part) != {""} else "one without a name"
        raise NmpackError(f"{where}: expected arrays named {', '.join(names)}, got {got or 'none'}")
    columns = {item.name: _rows(where, part[item.name], item, most) for item in inputs}
    counts = {name: len(rows) for name, rows in columns.items()}
    if len(set(counts.values())) != 1:
        raise NmpackError(f"{where}: expected as many samples of each input, got {counts}")
    count = next(iter(counts.values()))
    return [{name: rows[at] for name, rows in columns.items()} for at in range(count)]


def _fits(shape: Sequence[int], stated: Sequence[int]) -> bool:
    """Return whether a shape is as stated, where -1 is any size but 0."""
    return len(shape) == len(stated) and all(
        size == wanted or (wanted == -1 and size > 0)
        for size, wanted in zip(shape, stated, strict=True)
    )


def _rows(where: str, array: Array, item: Signature, most: int) -> Array:
    """Return at most ``most`` samples of an input, ``[count, *shape of one]``, checked."""
    wanted = np.dtype(item.dtype)
    kinds = "f" if wanted.kind == "f" else "iub"
    if array.dtype.kind not in kinds:
        what = "floating-point values, as the model takes them" if kinds == "f" else item.dtype
        raise NmpackError(f"{where}: {item.name}: expected {what}, got {array.dtype}")
    one = item.stated[1:] or item.shape[1:]
    rows = array[None] if array.ndim <= len(one) else array
    rows = rows[:most]
    first = (one[-1], *one[:-1]) if len(one) == 3 and wanted.kind == "f" else one
    if _fits(rows.shape[1:], first) and not _fits(rows.shape[1:], one):
        rows = np.moveaxis(rows, 1, -1)
    if not _fits(rows.shape[1:], one):
        shape = ", ".join("?" if size == -1 else str(size) for size in ("N", *one))
        raise NmpackError(
            f"{where}: {item.name}: expected shape [{shape}], got {list(array.shape)}"
        )
    if wanted.kind in "iu" and rows.size:
        bounds = np.iinfo(wanted)
        if int(rows.min()) < bounds.min or int(rows.max()) > bounds.max:
            raise NmpackError(
                f"{where}: {item.name}: expected values that fit {wanted}, got "
                f"{rows.min()} to {rows.max()}"
            )
    with np.errstate(over="ignore"):
        rows = rows.astype(wanted)
    if wanted.kind == "f":
        finite = np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))
        if not finite.all():
            place = int(np.argmin(finite))
            raise NmpackError(f"{where}: {item.name}: sample {place} holds NaN or infinity")
    return rows
