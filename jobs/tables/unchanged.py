"""Whether the files of a table are still those that were opened.

Owns: that question. Must not know: what is in them.
"""

from jobs.errors import InputChangedError
from jobs.tables.places import TablePlace, find_table

__all__ = ["check_unchanged"]


def check_unchanged(place: TablePlace) -> None:
    """Look at the files again. Raises InputChangedError, and InputError if they are gone."""
    if find_table(place.name).digest != place.digest:
        raise InputChangedError(
            f"the input {place.name} changed while it was read; run the same command again "
            "(results of rows that did not change are kept)"
        )
