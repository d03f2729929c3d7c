"""What columns of text hold, decided from all rows, so that no part of a table decides alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from setvae_cli.sources.columns import WrongColumn, as_numbers, is_text
from setvae_cli.sources.roles import Roles
from setvae_cli.sources.rows import read_role
from setvae_cli.sources.times import check_kinds, text_kinds


class TextTypes:
    """Sees the rows of a table a batch at a time.

    Attributes:
        columns: Those that it needs to see.
    """

    def __init__(
        self, roles: Roles, types: Mapping[str, pa.DataType], where: str, *, attributes: bool
    ) -> None:
        """Begin with no row.

        Args:
            roles: Column of each role.
            types: Type of each column.
            where: The table, as the person wrote it.
            attributes: Attributes of text may be numbers, as all cells of a CSV are text.
        """
        self._roles, self._where = roles, where
        self._times = {roles.time} if _is_text(types[roles.time]) else set()
        others = replace(roles, attributes={}).events()
        self._numbers = (
            {column for column in roles.attributes.values() if column not in others}
            if attributes
            else set()
        )
        self._kinds: set[str] = set()
        self.columns = sorted(self._times | self._numbers)

    def look(self, rows: pa.Table) -> None:
        """See some rows.

        Raises:
            InputError: The times so far are neither numbers nor dates of one time zone.
        """
        for column in self._times:
            self._kinds |= read_role(text_kinds, rows, column, "time", self._where)
            read_role(lambda _: check_kinds(self._kinds), rows, column, "time", self._where)
        self._numbers = {column for column in self._numbers if _all_numbers(rows[column])}

    def numbers(self) -> frozenset[str]:
        """Columns of text whose rows so far are all numbers."""
        return frozenset(self._numbers)


def _is_text(kind: pa.DataType) -> bool:
    return is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _all_numbers(column: pa.ChunkedArray) -> bool:
    try:
        as_numbers(column)
    except WrongColumn:
        return False
    return True
