"""What can go wrong, and the exit code each kind ends with.

    MnsweepError            2   wrong usage, bad value, bad file
    ├── StoreError          2   results that can't be read, or don't belong together
    └── UnavailableError    4   the machine or an optional part is not to be had now

The library raises these; the command line turns each into one line on stderr.
Every message names the value, where it came from, and the mend.
"""


class MnsweepError(Exception):
    """Wrong usage or a bad value; `exit_code` is what the command line ends with."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a user's value may hold line ends


class StoreError(MnsweepError):
    """Stored results are damaged, of a newer schema, or of other settings. Nothing was changed."""


class UnavailableError(MnsweepError):
    """Nothing is wrong with the request, but this machine can't serve it now."""

    exit_code = 4
