"""`mnsweep train` as a function; it loads torch, which no other function of the API needs."""

from os import PathLike
from typing import Any

import pandas as pd

from mnsweep.app.requests import TrainRequest
from mnsweep.app.train import train as train_run
from mnsweep.app.train_elsewhere import train_elsewhere
from mnsweep.frames import frame_of_rows
from mnsweep.options import request_from
from mnsweep.space import AxisLike

_COLUMNS = {
    **dict.fromkeys(("run", "cell", "weights", "quantization", "metric"), str),
    **dict.fromkeys(("quality_pct", "quality_ci_low_pct", "quality_ci_high_pct"), float),
    **dict.fromkeys(("top1_pct", "top1_ci_low_pct", "top1_ci_high_pct", "top5_pct"), float),
    **dict.fromkeys(("images", "epochs"), int),
    **dict.fromkeys(("seconds", "images_per_s", "busy_share"), float),
}


def train(
    data: str | PathLike[str], name: str, alpha: AxisLike | None = None, res: AxisLike | None = None, **settings: Any
) -> pd.DataFrame:
    """Train networks on labelled pictures as the run `name`: one row for each file that was scored, qualities in %.

    With `task` they learn what that task does, and `metric` names the quality; `top1_pct` is for classes alone.

    `alpha` and `res` (pixels) name the networks, or `sweep` a sweep file. `settings` are the options of `mnsweep train`; `set`
    changes the recipe (`"lr=0.01,epochs=5"`). The frame's `attrs` have the folder of the run, the reasons of those that failed
    by cell (`failures`), and of pictures that can't be read by path (`broken`). Raises `MnsweepError` for what does not fit.
    """
    request = request_from(TrainRequest, data=data, name=name, alpha=alpha, res=res, **settings)
    done = train_elsewhere(request) if request.elsewhere.is_asked else train_run(request)
    about = {
        "sweep": done.name,
        "machine": None,
        "results_dir": str(done.folder),
        "failures": dict(done.failures),
        "broken": {str(path): reason for path, reason in done.broken.items()},
    }
    return frame_of_rows(_COLUMNS, done.rows(), about)
