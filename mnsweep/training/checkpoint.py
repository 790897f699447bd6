"""Checkpoints: everything that the next epoch depends on, written so that a reader finds the old one or the new one whole."""

import os
from pathlib import Path
from typing import Any

import torch

from mnsweep.errors import MnsweepError

State = dict[str, Any]


def write_checkpoint(path: Path, state: State) -> None:
    """Write, sync, rename. Raises `MnsweepError` where there is no room; the checkpoint before stays."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")  # one that was given up may still be writing another
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError for a full disk
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be written: is the disk full?"
        raise MnsweepError(f"{path}: {reason}", "the checkpoint before it is kept; make room and run it again") from None
    finally:
        draft.unlink(missing_ok=True)


def read_checkpoint(path: Path, job: str) -> State | None:
    """The state of the same `job`; None where there is none, or it is another's. Raises `MnsweepError` for a damaged one."""
    if not path.is_file():
        return None
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch's reader raises nearly anything
        raise MnsweepError(f"{path}: is a damaged checkpoint", "remove it; the training then starts over") from None
    return state if state.get("job") == job else None
