"""The exceptions, and the exit code of the command line for each.

    MnsweepError            wrong usage, bad value, bad file              2
    ├── StoreError          a results folder that cannot be used          2
    └── UnavailableError    a runtime, machine or optional part missing   4

An error says what happened (`what`) and, separately, what to do about it (`fix`). Both write settings as in Python, in
backticks: `max_designs`. The command line shows the option instead: --max-designs.
"""


class MnsweepError(Exception):
    """Bad input. `what` names the value and where it is; `fix` is the next step, empty where `what` implies it."""

    exit_code = 2

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)
        self.what, self.fix = " ".join(what.splitlines()), fix  # a user's value may hold line ends

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}" if self.fix else self.what


class StoreError(MnsweepError):
    """A results folder or one of its files cannot be read or written as asked."""


class UnavailableError(MnsweepError):
    """A runtime, machine or optional part is unavailable on this machine at the moment; `fix` says how to get it."""

    exit_code = 4
