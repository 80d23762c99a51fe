"""Markdown tables.

Owns: their form, and what keeps a text inside its cell. Must not know: what they say.
"""

from collections.abc import Iterable, Sequence

__all__ = ["cell", "table"]

_CELL_CHARS = 160


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, num_texts: int = 1) -> str:
    """A table whose first `num_texts` columns are texts and the others numbers."""
    marks = ["---" if index < num_texts else "---:" for index in range(len(heads))]
    lines = [heads, marks, *([cell(value) for value in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """One line that ends no cell and begins no markup."""
    line = " ".join(text.split())
    line = line if len(line) <= _CELL_CHARS else line[: _CELL_CHARS - 1] + "…"
    for mark in "\\`*_|<>[]":
        line = line.replace(mark, f"\\{mark}")
    return line
