"""Words that columns, messages, tables and captions share."""

STABLE, NOISY, DRIFTING = "stable", "noisy", "drifting"  # in the column `stability`


def count_of(number: int, noun: str) -> str:
    """The number and the noun, in the singular or plural.

    >>> count_of(1, "cell"), count_of(2000, "more cell")
    ('1 cell', '2,000 more cells')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
