"""From a path or URL to a table.

Owns: which kind of source reads which format. Must not know: the formats themselves.
"""

from jobs.tables.arrow_source import ArrowSource
from jobs.tables.places import find_table
from jobs.tables.source import TableSource
from jobs.tables.text_source import TextSource

__all__ = ["open_table"]


def open_table(location: str) -> TableSource:
    """The table at `location`: a file, a folder of files, or the URL of either. Reads what it must
    to know its columns and the number of its rows. Raises InputError.
    """
    place = find_table(location)
    return TextSource(place) if place.format.is_text else ArrowSource(place)
