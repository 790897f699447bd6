"""Decoding of untrusted content: every type is checked, and bad content is rejected with a one-line reason."""

import re
from typing import Any, TypeVar

import msgspec

from mnsweep.errors import StoreError

T = TypeVar("T")
_AT = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*?)`)?", re.DOTALL)


class DamagedError(StoreError):
    """The content is damaged or has the wrong type. The text is the reason; the caller adds the file and the line."""


def from_json(data: bytes | str, kind: type[T]) -> T:
    """Decode JSON `data` as a value of type `kind`; raises `DamagedError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:  # every error of msgspec is a ValueError
        raise DamagedError(_reason(error)) from None


def from_builtins(content: object, kind: type[T], *, strict: bool = True) -> T:
    """Convert plain lists and dictionaries to type `kind`; without `strict`, numbers may be text. Raises `DamagedError`."""
    try:
        return msgspec.convert(content, kind, strict=strict)
    except (ValueError, RecursionError) as error:
        raise DamagedError(_reason(error)) from None


def to_builtins(value: object) -> Any:
    """Convert a value to plain lists and dictionaries."""
    return msgspec.to_builtins(value)


def _reason(error: Exception) -> str:
    """The reason with the path first, e.g. `samples_ns[0]: expected int, got str`."""
    match = _AT.fullmatch(str(error))
    if match is None:
        return str(error)
    what = match["what"].replace("`", "")
    what = what if what[1:2].isupper() else what[:1].lower() + what[1:]  # JSON stays as it is
    return f"{match['path']}: {what}" if match["path"] else what
