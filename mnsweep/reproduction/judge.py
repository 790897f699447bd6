"""Compare every table of the paper with ours: printed value, computed value, verdict.

A count matches if it rounds to the printed value, or differs from it by one unit of the last printed digit. Where a single
digit is printed, that is a loose test, and the row says how loose. Otherwise the paper is wrong (erratum) or does not specify
something (assumption), and the row gives the arithmetic. The computed value must then match the value that the explanation
names. Accuracies are quoted, never claimed. Any other row is a mismatch.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from mnsweep.cell import Design
from mnsweep.errors import MnsweepError
from mnsweep.reproduction.computed import computed
from mnsweep.reproduction.networks import network_of
from mnsweep.reproduction.printed import TITLES, Erratum, Printed, errata, printed

MATCH, ERRATUM, ASSUMPTION, QUOTED, MISMATCH = VERDICTS = ("match", "erratum", "assumption", "quoted", "mismatch")
_COUNTED = ("mult_adds", "params")
_SHAPES = ("type_stride", "filter_shape", "input_size")
NOT_BUILT = "not built here"
NOT_COUNTED = "a quality that others measured: quoted"
NO_SOFTMAX = "the network ends at the logits here: a softmax has no weights and no mult-adds"


@dataclass(frozen=True, slots=True)
class Row:
    """One value of the paper, `text` as printed, and our `computed` value in the same `unit`; None if not computed.

    `reason` says why a row does not match, or how loose a match is if a single digit is printed.
    `design` is the row's network, or None if it is not built here.
    """

    table: int
    model: str
    metric: str
    text: str
    computed: float | str | None
    unit: str
    verdict: str
    reason: str
    design: Design | None

    @property
    def paper(self) -> float | str:
        """The printed value, as a number if it is one."""
        return float(self.text) if self.unit else self.text


def paper_tables(number: int | None = None) -> dict[int, list[Row]]:
    """The rows of every table, or of table `number`, by table number. Raises `MnsweepError` for a table that does not exist."""
    if number is not None and number not in TITLES:
        raise MnsweepError(f"`table` {number} is not in the paper", f"choose from {min(TITLES)} to {max(TITLES)}")
    wanted = TITLES if number is None else (number,)
    return {table: [judge(row, computed(row), _note(row)) for row in printed() if row.table == table] for table in wanted}


def _note(row: Printed) -> Erratum | None:
    return errata().get((row.table, row.model, row.metric))


def judge(row: Printed, ours: float | str | None, note: Erratum | None) -> Row:
    """Compare a printed row with our value; `note` explains a known difference, if there is one."""
    verdict, reason = _verdict(row, ours, note)
    return Row(
        table=row.table,
        model=row.model,
        metric=row.metric,
        text=row.text,
        computed=ours,
        unit=row.unit,
        verdict=verdict,
        reason=reason,
        design=network_of(row),
    )


def _verdict(row: Printed, ours: float | str | None, note: Erratum | None) -> tuple[str, str]:
    if ours is None:
        counted = row.metric.startswith(_COUNTED)
        return QUOTED, NOT_BUILT if counted else NO_SOFTMAX if row.metric in _SHAPES else NOT_COUNTED
    if note is not None:
        if matches(ours, note.value):
            return note.verdict, note.reason
        return MISMATCH, f"{ours} is not the {note.value} of the explanation {note.id!r}"
    if matches(ours, row.text):
        return MATCH, looseness(row.text) if row.unit else ""
    return MISMATCH, f"{ours} is more than one unit of the last digit from {row.text}, and nothing explains it"


def matches(ours: float | str, text: str) -> bool:
    """Whether a number rounds to that in `text` within one unit of its last digit; shapes must be equal.

    >>> matches(568.74, "569"), matches(1.3316, "1.32"), matches(106.1, "108")
    (True, True, False)
    """
    if isinstance(ours, str):
        return ours == text
    unit = Decimal(1).scaleb(-decimals(text))
    return abs(Decimal(ours).quantize(unit, ROUND_HALF_UP) - Decimal(text)) <= unit


def looseness(text: str) -> str:
    """What matches a number of a single digit, in words; empty if more digits are printed.

    >>> looseness("0.2"), looseness("0.47")
    ('a single digit is printed: whatever rounds to 0.1, 0.2 or 0.3 matches, one unit is 50 % of it', '')
    """
    if len(text.replace(".", "").lstrip("0")) != 1:
        return ""
    value, unit = Decimal(text), Decimal(1).scaleb(-decimals(text))
    share = f"one unit is {100 * unit / value:.3g} % of it"
    return f"a single digit is printed: whatever rounds to {value - unit}, {value} or {value + unit} matches, {share}"


def decimals(text: str) -> int:
    """Number of digits after the decimal point of a printed number."""
    return len(text.partition(".")[2])
