"""The progress of a call where its user looks: a notebook, a terminal, or nowhere.

Owns: the choice, and the bar of notebooks. Must not know: what is shown. A notebook gets plain HTML
that is replaced as it changes, which needs no extension; scripts that write to a file get nothing
unless they ask for it.
"""

import html
import sys
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from worker.progress import Display, LineDisplay, Rate, Snapshot, open_display

__all__ = ["NotebookDisplay", "SilentDisplay", "open_progress"]

_UPDATE_EVERY_S = 0.2


class SilentDisplay:
    """Shows nothing."""

    def phase(self, text: str) -> None: ...

    def update(self, snapshot: Snapshot) -> None: ...

    def close(self) -> None: ...


class HtmlHandle(Protocol):
    """A place in a notebook whose content can be replaced."""

    def update(self, content: object) -> object: ...


class NotebookDisplay:
    """A bar below the cell that runs. `show` puts HTML there and returns its place."""

    def __init__(self, show: Callable[[str], Callable[[str], object]]) -> None:
        self._rate = Rate()
        self._text = ""
        self._latest = Snapshot()
        self._shown_s = monotonic()
        self._replace = show(self._html(0.0))

    def phase(self, text: str) -> None:
        self._text = text
        self._draw()

    def update(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        if monotonic() - self._shown_s >= _UPDATE_EVERY_S:
            self._draw()

    def close(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self._shown_s = monotonic()
        self._replace(self._html(self._rate.add(self._latest.num_tokens)))

    def _html(self, tokens_per_s: float) -> str:
        now = self._latest
        of_total = "" if now.total is None else f" of {now.total:,}"
        share = f" value={now.num_done} max={now.total}" if now.total else ""
        return (
            f"<div><progress{share}></progress> {html.escape(self._text)} {now.num_done:,}"
            f"{of_total} rows, {now.num_failed:,} failed, {tokens_per_s:,.0f} tok/s</div>"
        )


def open_progress(wanted: bool | None) -> Display:
    """The display of a call that begins now. None: a bar in notebooks and terminals. True: lines
    elsewhere too. False: nothing.
    """
    display = _chosen(wanted)
    display.phase("running:")
    return display


def _chosen(wanted: bool | None) -> Display:
    if wanted is False:
        return SilentDisplay()
    if _is_notebook():
        return NotebookDisplay(_show_in_notebook)
    if sys.stderr.isatty():
        return open_display()
    return LineDisplay(sys.stderr) if wanted else SilentDisplay()


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _show_in_notebook(content: str) -> Callable[[str], object]:
    from IPython.display import HTML, display

    handle: HtmlHandle = display(HTML(content), display_id=True)
    return lambda changed: handle.update(HTML(changed))
