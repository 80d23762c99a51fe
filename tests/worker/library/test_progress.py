import io
import sys
from types import SimpleNamespace

import pytest

from worker.library.progress import NotebookDisplay, SilentDisplay, open_progress
from worker.progress import BarDisplay, LineDisplay, Snapshot


class Page:
    """A notebook's output area."""

    def __init__(self) -> None:
        self.contents: list[str] = []

    def show(self, content: str):
        self.contents.append(content)
        return self.contents.append


def test_a_notebook_shows_a_bar_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page()
    display = NotebookDisplay(page.show)
    display.phase("running <fast>")
    display.update(Snapshot(num_done=1))
    assert len(page.contents) == 2, "it is not drawn for every row"
    monkeypatch.setattr("worker.library.progress._UPDATE_EVERY_S", 0.0)
    display.update(Snapshot(num_done=30, num_failed=2, total=1200, num_tokens=77))
    assert "running &lt;fast&gt; 30 of 1,200 rows, 2 failed" in page.contents[-1]
    assert "<progress value=30 max=1200>" in page.contents[-1]
    display.update(Snapshot(num_done=1200, total=1200))
    display.close()
    assert "1,200 of 1,200 rows" in page.contents[-1]


def test_the_bar_is_where_the_user_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    assert isinstance(open_progress(None), SilentDisplay)
    assert isinstance(open_progress(True), LineDisplay)
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = open_progress(None)
    bar.close()
    assert isinstance(bar, BarDisplay)
    assert isinstance(open_progress(False), SilentDisplay)


def test_a_kernel_is_a_notebook_and_a_shell_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page()
    shown = SimpleNamespace(update=lambda content: page.contents.append(content))
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    display = SimpleNamespace(HTML=str, display=lambda content, display_id: shown)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    notebook = open_progress(None)
    notebook.phase("running")
    assert "running" in page.contents[-1]
    ipython.get_ipython = SimpleNamespace
    assert isinstance(open_progress(None), SilentDisplay)
