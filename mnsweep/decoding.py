"""Content that anybody may have written: decoded with every type checked, or refused with the reason in one line."""

import re
from typing import Any, TypeVar

import msgspec

from mnsweep.errors import StoreError

T = TypeVar("T")
_AT = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*?)`)?", re.DOTALL)


class DamagedError(StoreError):
    """What was read is not what it should be; the text is the reason, for whoever knows the file and the line."""


def from_json(data: bytes | str, kind: type[T]) -> T:
    """The value that `data` holds; raises `DamagedError`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:  # every error of msgspec is a ValueError
        raise DamagedError(_reason(error)) from None


def from_builtins(content: object, kind: type[T], *, strict: bool = True) -> T:
    """The value that plain lists and dictionaries make; with `strict` off numbers may be text. Raises `DamagedError`."""
    try:
        return msgspec.convert(content, kind, strict=strict)
    except (ValueError, RecursionError) as error:
        raise DamagedError(_reason(error)) from None


def to_builtins(value: object) -> Any:
    """The same as plain lists and dictionaries."""
    return msgspec.to_builtins(value)


def _reason(error: Exception) -> str:
    """`samples_ns[0]: expected int, got str`: the place first, as people look for it."""
    match = _AT.fullmatch(str(error))
    if match is None:
        return str(error)
    what = match["what"].replace("`", "")
    return f"{match['path']}: {what[:1].lower()}{what[1:]}" if match["path"] else what[:1].lower() + what[1:]
