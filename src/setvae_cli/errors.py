"""The errors that setvae raises on purpose, and how they end a command.

    SetvaeError                      never raised itself
    ├── UsageError       exit 2      what the person named is wrong: options, settings, input files
    │   ├── SettingsError            an option, an environment variable, a configuration file
    │   └── InputError               a file or a folder that the person named
    └── RunError         exit 1      what went wrong later: data, numbers, disk, workers
        ├── DataError                prepared data is damaged or was replaced
        └── NumericalError           a loss or a gradient is not finite

    Terminated      exit 128 + n     no error: signal n asked this process to end

Each error carries its parts as data, and its text is always one line: where, what was found, and
after a semicolon the next step. Patient ids and measured values never belong in any part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


class SetvaeError(Exception):
    """An error with a place, a finding and a mend.

    Args:
        what: What was found and what was expected, one clause without a full stop.
        where: The file, option or field, as the person wrote it.
        mend: What to do about it, an imperative clause.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(what, where, mend)

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel whole from worker processes."""
        return partial(type(self), where=self.where, mend=self.mend), (self.what,)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"; {self.mend}" if self.mend else ""
        return " ".join(f"{place}{self.what}{mend}".split())


class UsageError(SetvaeError):
    """What the person asked for cannot be done as asked."""

    exit_code = 2


class SettingsError(UsageError):
    """An option, an environment variable or a configuration file is wrong."""


class InputError(UsageError):
    """An input file or folder cannot be used."""


class RunError(SetvaeError):
    """Something failed after the request was accepted."""


class DataError(RunError):
    """Prepared data is damaged, incomplete or was replaced while in use."""


class NumericalError(RunError):
    """A number that has to be finite is not."""


class Terminated(BaseException):
    """A signal asked this process to end; what is half-written is removed on its way out.

    Args:
        number: The signal.
        told: Whether the person was told already.
    """

    def __init__(self, number: int, *, told: bool = False) -> None:
        super().__init__(number)
        self.number, self.told = number, told
        self.exit_code = 128 + number


@contextmanager
def placed(where: object) -> Iterator[None]:
    """Context in which an error about data that names no place gets this one, as it was written."""
    try:
        yield
    except (InputError, DataError) as error:
        if error.where is None and where is not None:
            raise type(error)(error.what, where=str(where), mend=error.mend) from error
        raise
