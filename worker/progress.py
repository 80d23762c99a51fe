"""What the user sees while a batch runs, and at its end.

Owns: the live bar on a terminal, plain lines elsewhere, the summary. Must not know: where the
numbers come from. The bar and the lines go to standard error, the summary to standard output.
"""

import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Display", "Snapshot", "Summary", "open_display", "print_summary"]

_RATE_WINDOW_S = 10.0
_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Where a batch stands. `total` is None until the whole input was read; `num_failed` counts
    rows whose status is not 200; `num_tokens` are output tokens of this process.
    """

    num_done: int = 0
    num_failed: int = 0
    total: int | None = None
    num_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The end of a batch: rows and tokens of the whole batch, `wall_s` of this command.

    `num_reused` rows were there from an earlier run; `num_generated_tokens` is what this command
    computed in `computing_s`, the other token counts are sums over all rows.
    """

    num_ok: int
    num_failed: int
    num_reused: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    num_generated_tokens: int
    computing_s: float
    wall_s: float
    files: tuple[Path | str, ...]


class Display(Protocol):
    """Shows progress until closed."""

    def phase(self, text: str) -> None:
        """Say what is being done now."""
        ...

    def update(self, snapshot: Snapshot) -> None:
        """Show new numbers."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


def open_display(stream: TextIO | None = None) -> Display:
    """A live bar if `stream` (standard error) is a terminal, else lines now and then."""
    stream = stream or sys.stderr
    return BarDisplay(stream) if stream.isatty() else LineDisplay(stream)


class Rate:
    """Tokens per second over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def add(self, count: int) -> float:
        """The rate after `count` tokens in all."""
        now_s = monotonic()
        self._points.append((now_s, count))
        while len(self._points) > 2 and now_s - self._points[0][0] > _RATE_WINDOW_S:
            self._points.popleft()
        then_s, before = self._points[0]
        return (count - before) / (now_s - then_s) if now_s > then_s else 0.0


class LineDisplay:
    """One line for each phase and every few seconds, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = Rate()
        self._started_s = monotonic()
        self._last_line_s = self._started_s
        self._num_before: int | None = None

    def phase(self, text: str) -> None:
        self._print(text)

    def update(self, snapshot: Snapshot) -> None:
        rate = self._rate.add(snapshot.num_tokens)
        now_s = monotonic()
        if self._num_before is None:  # rows of earlier runs took no time of this one
            self._num_before, self._started_s = snapshot.num_done, now_s
        if now_s - self._last_line_s < _LINE_EVERY_S:
            return
        total = "?" if snapshot.total is None else f"{snapshot.total:,}"
        parts = [
            f"{snapshot.num_done:,}/{total} rows",
            f"{snapshot.num_failed:,} failed",
            f"{rate:,.0f} tok/s",
        ]
        num_new = snapshot.num_done - self._num_before
        if snapshot.total is not None and num_new > 0:
            left = snapshot.total - snapshot.num_done
            parts.append(f"ETA {(now_s - self._started_s) * left / num_new:,.0f} s")
        self._print(", ".join(parts))

    def close(self) -> None:
        self._stream.flush()

    def _print(self, text: str) -> None:
        self._last_line_s = monotonic()
        self._stream.write(f"headrace: {text}\n")
        self._stream.flush()


class BarDisplay:
    """A live progress bar: rows, failed rows, tokens per second, time left."""

    def __init__(self, stream: TextIO) -> None:
        self._rate = Rate()
        self._bar = _open_bar(stream)
        self._row = self._bar.add_task("", total=None, failed=0, rate=0.0)
        self._bar.start()

    def phase(self, text: str) -> None:
        self._bar.update(self._row, description=text)

    def update(self, snapshot: Snapshot) -> None:
        self._bar.update(
            self._row,
            completed=snapshot.num_done,
            total=snapshot.total,
            failed=snapshot.num_failed,
            rate=self._rate.add(snapshot.num_tokens),
        )

    def close(self) -> None:
        self._bar.stop()


def _open_bar(stream: TextIO) -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[failed]:,} failed"),
        TextColumn("{task.fields[rate]:,.0f} tok/s"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=Console(file=stream),
        refresh_per_second=5,
    )


def print_summary(summary: Summary, stream: TextIO | None = None) -> None:
    """Print the table of what came out, and where the files are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column("what", style="bold")
    table.add_column("value", justify="right")
    rate = "-"  # computed elsewhere, or before
    if summary.computing_s > 0:
        rate = f"{summary.num_generated_tokens / summary.computing_s:,.1f}"
    for name, value in (
        ("rows ok", f"{summary.num_ok:,}"),
        ("rows failed", f"{summary.num_failed:,}"),
        ("rows kept from before", f"{summary.num_reused:,}"),
        ("prompt tokens", f"{summary.prompt_tokens:,}"),
        ("cached tokens", f"{summary.cached_tokens:,}"),
        ("output tokens", f"{summary.completion_tokens:,}"),
        ("output tokens/s", rate),
        ("wall seconds", f"{summary.wall_s:,.2f}"),
    ):
        table.add_row(name, value)
    console = Console(file=stream or sys.stdout, highlight=False)
    console.print(table)
    for path in summary.files:
        console.print(str(path), markup=False, soft_wrap=True)
