"""Words that columns, messages, tables and captions share."""

STABLE, NOISY, DRIFTING = "stable", "noisy", "drifting"  # in the column `stability`


def three_digits(value: float) -> str:
    """A number above 0 with three significant digits, never as a power of ten.

    >>> three_digits(0.1234), three_digits(12.0), three_digits(1763.2)
    ('0.123', '12', '1,763')
    """
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def count_of(number: float, noun: str) -> str:
    """The number and the noun, in the singular or plural.

    >>> count_of(1, "cell"), count_of(2000, "more cell"), count_of(1.5, "CPU"), count_of(1.0, "CPU"), count_of(2, "class")
    ('1 cell', '2,000 more cells', '1.5 CPUs', '1 CPU', '2 classes')
    """
    text = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{text} {noun}{ending}"


def typed(value: object) -> str:
    """A value as a user would type it.

    >>> typed(5.0), typed(0.123456789), typed("fp32")
    ('5', '0.123456789', 'fp32')
    """
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
