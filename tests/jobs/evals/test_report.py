"""The report of one evaluation."""

import re
from html.parser import HTMLParser
from pathlib import Path

from jobs.evals.report import write_report
from jobs.evals.results import RowResult
from jobs.evals.scores import ScoredRow, score_rows
from tests.jobs.evals.builders import manifest, row, said, scored


class Page(HTMLParser):
    """Reads a page; remembers what it would load, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("line", "circle", "rect")


def written(folder: Path, rows: list[ScoredRow], **changes: object) -> tuple[str, str]:
    markdown, page = write_report(folder, manifest(rows, **changes), rows)
    text = page.read_text()
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.loaded == ["data:,"]
    assert "@import" not in text
    assert "url(" not in text
    return markdown.read_text(), text


def test_it_says_how_good_and_what_was_wrong(tmp_path: Path) -> None:
    rows = scored(a_1="yes", a_2="no", b_1="yes", b_2=RowResult(error="too long"))
    markdown, page = written(tmp_path, rows)
    for text in (markdown, page):
        assert "50.0%" in text
        assert "error: too long" in text
        assert "wrong text" in text
    assert "| a | 1 | 2 | 50.0% |" in markdown
    assert "<svg" in page
    assert "1 of the rows got an error" in page
    assert len(re.findall("<details>", page)) == 2


def test_what_models_say_is_text(tmp_path: Path) -> None:
    rows = [row(id="<b>", input="<script>1</script>", target="yes", task="<i>", tags=["<u>"])]
    _, page = written(tmp_path, score_rows(rows, {"<b>": said("</pre><script>2</script>")}))
    assert "<script>" not in page
    assert "&lt;script&gt;2" in page


def test_samples_and_pass_at_k_are_told(tmp_path: Path) -> None:
    rows = scored(a_1=("yes", "no"), a_2=("no", "no"))
    markdown, page = written(tmp_path, rows, samples=2, pass_at=(1, 2))
    assert "| a | 0 | 2 | 25.0% |" in markdown
    assert "| 25.0% | 50.0% |" in markdown
    assert "pass@2" in page
    assert "1 of 2 samples right" in page


def test_rows_of_several_engines_are_a_notice(tmp_path: Path) -> None:
    rows = scored(a=said("yes", fingerprint="fp_0"), b="yes")
    assert "2 different engines" in written(tmp_path, rows)[1]


def test_a_page_stays_readable_with_very_many_rows(tmp_path: Path) -> None:
    rows = scored(**{f"t{n}_{n}": "no" for n in range(300)})
    _, page = written(tmp_path, rows)
    assert "The first 200 of 300" in page
