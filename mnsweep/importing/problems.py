"""What can be wrong with a file that is imported."""

from mnsweep.errors import MnsweepError


class FormatError(MnsweepError):
    """The file is damaged, or is not what it seems to be; the caller adds its name."""


def misfit(operator: str, why: str) -> FormatError:
    """An operator that no MobileNet of ours has, named as in the file."""
    return FormatError(f"operator {operator} {why}", "only MobileNetV1 can be imported")
