"""`mnsweep paper`: the paper's tables beside our values."""

from mnsweep.app.requests import PaperRequest
from mnsweep.errors import MnsweepError
from mnsweep.reproduction.judge import Row, paper_tables


def check_paper(request: PaperRequest) -> dict[int, list[Row]]:
    """The rows of every table, or of the requested one, each with our value and a verdict.

    Raises `MnsweepError` where `fresh` or `wait` is set without `measure`.
    """
    if not request.measure and (request.fresh or request.turn.wait):
        name = "fresh" if request.fresh else "wait"
        raise MnsweepError(f"`{name}` requires `measure`", "add it, or leave both out")
    return paper_tables(request.table)
