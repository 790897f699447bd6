"""A worker whose runtime misbehaves for models that say so, and runs all others as the real one does."""

import os
import sys
import time

from mnsweep.cell import Deployment
from mnsweep.worker import process as worker
from mnsweep.worker.base import Run

open_ready = worker.open_ready


def open_oddly(model: bytes, deployment: Deployment) -> Run:
    if model == b"raises":
        raise RuntimeError("this kernel is not for you")
    if model == b"hangs":
        return lambda: time.sleep(3600)
    if model == b"dies":
        return lambda: os._exit(11)
    if model == b"short":
        return lambda: time.sleep(0.001)
    return open_ready(model, deployment)


if __name__ == "__main__":
    worker.__dict__["open_ready"] = open_oddly
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker.answer_requests(sys.stdin.buffer, answers)
