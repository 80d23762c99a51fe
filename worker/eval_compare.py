"""`headrace eval compare A B`: what two evaluations of one suite differ in.

Owns: reading both, what is printed. Must not know: how rows are paired and tested.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from jobs.evals.comparison import Comparison, GroupComparison, PairedRow, compare_scores
from jobs.evals.comparison_report import notices, shown_answer, write_comparison
from jobs.evals.manifest import read_manifest
from jobs.evals.score_files import read_scores
from worker.errors import EXIT_OK

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["compare_evaluations", "print_comparison"]

_ANSWER_CHARS = 200
_PIPE_WIDTH = 100


def compare_evaluations(
    before: Path, after: Path, *, output: Path | None = None, num_rows: int = 20
) -> int:
    """Print the comparison with `num_rows` of the rows that changed, and write it to `output`.

    Returns the exit code: 0 whatever the result. Raises JobsError.
    """
    found = compare_scores(
        (read_manifest(before), read_scores(before)), (read_manifest(after), read_scores(after))
    )
    print_comparison(found, num_rows=num_rows)
    if output is not None:
        for path in write_comparison(output, found, (str(before), str(after))):
            sys.stdout.write(f"{path}\n")
    return EXIT_OK


def print_comparison(
    found: Comparison, *, num_rows: int = 20, stream: TextIO | None = None
) -> None:
    """Print a line for each task and tag, what else differs, and rows whose score changed."""
    from worker.console import OutputConsole

    console = OutputConsole(stream)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    _print_groups(found, console)
    console.print(found.sentence, markup=False)
    for notice in notices(found):
        console.print(f"- {notice}", markup=False)
    for change in found.changes:
        console.print(f"- {change.what}: {change.before} -> {change.after}", markup=False)
    shown = found.changed[:num_rows]
    for row in shown:
        _print_row(row, console)
    if len(found.changed) > len(shown):
        console.print(f"\n{len(found.changed) - len(shown):,} more rows changed.", markup=False)


def _print_groups(found: Comparison, console: "Console") -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", style="bold", no_wrap=True)
    for name in ("rows", "A", "B", "points", "95% interval", "better", "worse", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in found.tasks:
        table.add_row(*_cells(group))
    if found.tags:
        table.add_section()
        for group in found.tags:
            table.add_row(*_cells(group))
    if len(found.tasks) > 1:
        table.add_section()
        table.add_row(*_cells(found.whole))
    console.print(table)


def _cells(group: GroupComparison) -> list[str]:
    found = group.difference
    return [
        group.name,
        f"{group.num_rows:,}",
        f"{group.before:.1%}",
        f"{group.after:.1%}",
        f"{found.mean * 100:+.1f}",
        f"{found.low * 100:+.1f}, {found.high * 100:+.1f}",
        f"{group.num_better:,}",
        f"{group.num_worse:,}",
        f"{group.p:.2g}",
    ]


def _print_row(row: PairedRow, console: "Console") -> None:
    scores = f"{row.before.score:.0%} -> {row.after.score:.0%}"
    console.print(f"\n{row.before.custom_id} ({row.before.task}): {scores}", markup=False)
    for name, text in (
        ("question", row.before.question),
        ("expected", row.before.expected),
        ("A", shown_answer(row.before)),
        ("B", shown_answer(row.after)),
    ):
        line = " ".join(text.split())
        short = line if len(line) <= _ANSWER_CHARS else line[: _ANSWER_CHARS - 1] + "…"
        console.print(f"  {name}: {short}", markup=False, soft_wrap=True)
