"""The scores on the screen.

Owns: the tables that `eval` prints. Must not know: how scores came about.
"""

from collections.abc import Sequence
from typing import TextIO

from jobs.evals.report import group_cells
from jobs.evals.scores import GroupScore, ScoredRow, group_scores, tag_scores

__all__ = ["print_scores"]

_PIPE_WIDTH = 100


def print_scores(
    scored: Sequence[ScoredRow], pass_at: Sequence[int] = (), stream: TextIO | None = None
) -> None:
    """Print a line for each task and each tag, and one for all, with 95% intervals."""
    from rich import box
    from rich.table import Table

    from worker.console import OutputConsole

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", style="bold", no_wrap=True)
    for name in ("right", "rows", "score", "95% interval", *(f"pass@{k}" for k in pass_at)):
        table.add_column(name, justify="right", no_wrap=True)
    tasks, tags = group_scores(scored), tag_scores(scored)
    for group in tasks:
        table.add_row(*group_cells(group, pass_at))
    if tags:
        table.add_section()
        for group in tags:
            table.add_row(*group_cells(group, pass_at))
    if len(tasks) > 1:
        table.add_section()
        table.add_row(*group_cells(GroupScore("all", tuple(scored)), pass_at))
    console = OutputConsole(stream)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_WIDTH)
    console.print(table)
