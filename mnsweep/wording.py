"""Words that columns, messages, tables and captions share."""

from math import ceil, floor, log10

STABLE, NOISY, DRIFTING = "stable", "noisy", "drifting"  # in the column `stability`


def three_digits(value: float) -> str:
    """A number above 0 with three significant digits, never as a power of ten.

    >>> three_digits(0.1234), three_digits(12.0), three_digits(1763.2)
    ('0.123', '12', '1,763')
    """
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def round_numbers(low: float, high: float) -> list[float]:
    """The numbers 1, 2 and 5 times a power of ten from `low`, above 0, to `high`.

    >>> round_numbers(0.3, 10)
    [0.5, 1.0, 2.0, 5.0, 10.0]
    """
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [value for decade in decades for step in (1, 2, 5) if low <= (value := float(f"{step}e{decade}")) <= high]


def count_of(number: float, noun: str) -> str:
    """The number and the noun, in the singular or plural.

    >>> count_of(1, "cell"), count_of(2000, "more cell"), count_of(1.5, "CPU"), count_of(1.0, "CPU"), count_of(2, "class")
    ('1 cell', '2,000 more cells', '1.5 CPUs', '1 CPU', '2 classes')
    >>> count_of(2, "box")
    '2 boxes'
    """
    text = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x")) else "s"
    return f"{text} {noun}{ending}"


def typed(value: object) -> str:
    """A value as a user would type it.

    >>> typed(5.0), typed(0.123456789), typed("fp32")
    ('5', '0.123456789', 'fp32')
    """
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
