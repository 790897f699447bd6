"""What a model file of anyone's is run on: arrays that were given, or made-up ones of its inputs' types and shapes."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnsweep.errors import MnsweepError
from mnsweep.worker.base import Feeds, Input

ONLY = ""  # the name of the only input, where none is given
MOST_ELEMENTS = 10**9
TO_WRITE = "write one with numpy.savez"
Shapes = Mapping[str, tuple[int, ...]]


def parse_shapes(text: str | None) -> Shapes:
    """Shapes by input: `image=1x3x224x224,mask=1x1`, or without a name that of the only input. Raises `MnsweepError`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in text.split(",") if text is not None else ():
        name, _, sizes = part.rpartition("=")
        if not re.fullmatch("[1-9][0-9]{0,8}(x[1-9][0-9]{0,8})*", sizes) or name in shapes:
            raise MnsweepError(f"`shape` {part!r:.80}: expected sizes above 0", "write something like image=1x3x224x224")
        shapes[name] = tuple(map(int, sizes.split("x")))
    return shapes


def read_arrays(path: Path | None) -> Feeds:
    """The arrays in an .npz file, by name, or that of an .npy file. Raises `MnsweepError` for a file that has no such."""
    if path is None:
        return {}
    try:
        content: Any = np.load(path, allow_pickle=False)
        arrays = {name: content[name] for name in content.files} if hasattr(content, "files") else {ONLY: content}
    except OSError as error:
        raise MnsweepError(f"`input` {path}: {error.strerror or 'is no file of arrays'}", TO_WRITE) from None
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        said = str(error).splitlines()[0] if str(error) else "is damaged"
        raise MnsweepError(f"`input` {path}: {said}", TO_WRITE) from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise MnsweepError(f"`input` {path}: {name or 'the array'} has values that are no finite numbers", "replace them")
    return arrays


def feeds_of(file: str, inputs: Sequence[Input], arrays: Feeds, shapes: Shapes) -> Feeds:
    """An array for every input: the given one, else standard normal numbers, and 0 for whole numbers and truth values.

    An open first size is 1 where nothing else is said. Raises `MnsweepError`, which names `file`, for an array or a shape that
    does not fit, and for an input whose size is open.
    """
    return {each.name: _feed(file, each, _of(arrays, each, inputs), _of(shapes, each, inputs)) for each in inputs}


def _of(given: Mapping[str, Any], each: Input, inputs: Sequence[Input]) -> Any:
    return given.get(each.name, given.get(ONLY) if len(inputs) == 1 else None)


def _feed(file: str, each: Input, array: NDArray[Any] | None, shape: tuple[int, ...] | None) -> NDArray[Any]:
    if array is not None:
        _check_shape(file, each, array.shape, "input")
        if array.dtype.name != each.dtype:
            fix = f"convert it: array.astype({each.dtype!r})"
            raise MnsweepError(f"{file}: input {each.name} takes {each.dtype}, the array is {array.dtype.name}", fix)
        return np.ascontiguousarray(array)
    if shape is None:
        shape = tuple(1 if size is None and i == 0 else size or 0 for i, size in enumerate(each.shape))
        if 0 in shape:
            sizes = "x".join("?" if size is None else str(size) for size in each.shape)
            fix = f"add `shape` {each.name}={_example(each)}"
            raise MnsweepError(f"{file}: input {each.name} is {sizes}: its size is open", fix)
    else:
        _check_shape(file, each, shape, "shape")
    return _made_up(file, each, shape)


def _check_shape(file: str, each: Input, shape: tuple[int, ...], setting: str) -> None:
    fits = len(shape) == len(each.shape) and all(s in (None, n) for s, n in zip(each.shape, shape, strict=True))
    if not fits:
        given, takes = ("x".join("?" if n is None else str(n) for n in sizes) for sizes in (shape, each.shape))
        raise MnsweepError(f"`{setting}`: {file}: input {each.name} takes {takes}, not {given}", "? may be any size")


def _example(each: Input) -> str:
    return "x".join(str(size or (1 if i == 0 else 224)) for i, size in enumerate(each.shape))


def _made_up(file: str, each: Input, shape: tuple[int, ...]) -> NDArray[Any]:
    if np.prod(shape, dtype=float) > MOST_ELEMENTS:
        raise MnsweepError(
            f"{file}: input {each.name} would have more than {MOST_ELEMENTS:,} numbers", "give a smaller `shape`"
        )
    try:
        dtype = np.dtype(each.dtype)
    except TypeError:
        what = f"{file}: input {each.name} is of type {each.dtype}, which can't be made up"
        raise MnsweepError(what, "give `input`") from None
    if dtype.kind == "f":
        return np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)
