"""What a client and the agent of a machine tell each other: JSON, one message a line.

    client                       agent
    Ask (what to run)       →
                            ←    Hello (version, machine, clock)
    Kept (what is here)     →
                            ←    Kept (what is there)
    Content, Lines          →    files of the command, and records that are only here
                            ←    Lines (of blocks.jsonl, as they stand there), SweepText, Progress
    Alive                   ⇄    so that both notice a connection that is only half there
                            ←    Ended

The agent begins each line with a token of the client's: whatever a login shell or a job scheduler prints has none. Everything
is decoded strictly, and no text of the other side becomes a path or a word of a command without being checked.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from mnsweep.decoding import DamagedError, from_json

LONGEST_LINE = 4 << 20  # bytes of a message
CHUNK = 256 << 10  # bytes of lines in one message
MOST_BYTES = 4 << 30  # of one machine's records
MOST_FACTS = 100  # about a machine
TOKEN_LETTERS = 32
NO_DOCUMENT = Raw(b"{}")  # in place of a document
_Sha256: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Size: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_BYTES)]
_Text: TypeAlias = Annotated[str, Meta(max_length=2_000)]


class Sent(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sent"):
    """A word of the command that stands for a file which the client sends: its name and content."""

    name: Annotated[str, Meta(pattern=r"^(?!\.\.?$)[^/\\\x00]{1,200}$")]
    sha256: _Sha256
    size: _Size


class Ask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="ask"):
    """The first message: run `command` with `words`, for the sweep of that name; '' where it has none.

    `results_dir` is a folder there; '' is the agent's own. With `fresh`, what is there is set aside first. Either side gives
    up after `silence_s` seconds without a word of the other.
    """

    version: str
    token: Annotated[str, Meta(pattern=f"^[0-9a-f]{{{TOKEN_LETTERS}}}$")]
    command: str
    words: tuple[str | Sent, ...] = ()
    sweep: str = ""
    results_dir: str = ""
    fresh: bool = False
    silence_s: float = 60.0


class Hello(Struct, frozen=True, kw_only=True, tag_field="kind", tag="hello"):
    """The agent's answer: `version` of its mnsweep, what machine it is, `clock_s` since 1970, and who holds the lock."""

    version: _Text
    checked: Annotated[dict[_Text, _Text | int], Meta(max_length=MOST_FACTS)]
    informative: Annotated[dict[_Text, _Text | int | float], Meta(max_length=MOST_FACTS)]
    clock_s: float
    holder: _Text = ""
    last_sweep: _Text = ""


class Kept(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="kept"):
    """How many bytes of whole lines a side has of the records, and their SHA-256."""

    size: _Size
    sha256: _Sha256


class Lines(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lines"):
    """Lines of `blocks.jsonl` from the byte `at`, each as it stands there, without its end."""

    at: _Size
    lines: tuple[Raw, ...]


class Content(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="content"):
    """The next bytes of the file with this SHA-256."""

    sha256: _Sha256
    part: bytes


class SweepText(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="sweep"):
    """The text of `sweep.toml`, where it changed."""

    text: Annotated[str, Meta(max_length=LONGEST_LINE)]


class Progress(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="progress"):
    """What the command said last."""

    text: _Text


class Alive(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="alive"):
    """Nothing new."""


class Ended(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="ended"):
    """The last message: the exit status, `what` went wrong where it did, and the JSON document that the command printed."""

    status: int
    what: _Text = ""
    document: Raw = NO_DOCUMENT


ToAgent: TypeAlias = Ask | Kept | Content | Lines | SweepText | Alive
ToClient: TypeAlias = Hello | Kept | Lines | SweepText | Progress | Alive | Ended
_TO_CLIENT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ToClient)
_TO_AGENT: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ToAgent)


def encoded(message: ToAgent | ToClient) -> bytes:
    """The message as a line, without its end."""
    return msgspec.json.encode(message)


def from_agent(line: bytes) -> ToClient:
    """The message in a line of an agent. Raises `DamagedError`, with the reason, for anything else."""
    message: ToClient = _decoded(_TO_CLIENT, line, ToClient)
    return message


def from_client(line: bytes) -> ToAgent:
    """The message in a line of a client. Raises `DamagedError`, with the reason, for anything else."""
    message: ToAgent = _decoded(_TO_AGENT, line, ToAgent)
    return message


def _decoded(decoder: "msgspec.json.Decoder[Any]", line: bytes, kind: Any) -> Any:
    try:
        return decoder.decode(line)
    except (ValueError, RecursionError):
        return from_json(line, kind)  # raises, with the reason


def words_of(words: Sequence[str | Sent], files: Mapping[str, str]) -> list[str]:
    """The words of a command, where files lie by their SHA-256. Raises `DamagedError` for a file that was not sent."""
    try:
        return [word if isinstance(word, str) else files[word.sha256] for word in words]
    except KeyError as missing:
        raise DamagedError(f"the file {missing} was not sent") from None
