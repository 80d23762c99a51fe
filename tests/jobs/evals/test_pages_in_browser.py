"""Reports in a real browser: nothing is loaded or complained about, nothing sticks out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.evals.comparison import compare_scores
from jobs.evals.comparison_report import write_comparison
from jobs.evals.report import write_report
from jobs.evals.score_files import read_scores, write_scores
from tests.jobs.evals.builders import manifest, scored

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as engine:
        one = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


def pages(folder: Path) -> list[Path]:
    sides = []
    for word in ("no", "yes"):
        rows = scored(**{f"{'long' * 12}{n % 3}_{n}": word if n % 2 else "yes" for n in range(9)})
        sides.append((manifest(rows), rows))
    (a, before), (b, after) = sides
    _, report = write_report(folder, a, before)
    write_scores(folder, before)
    earlier = read_scores(folder)
    write_scores(folder, after)
    found = compare_scores((a, earlier), (b, read_scores(folder)))
    return [report, write_comparison(folder, found, ("a", "b"))[1]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_reports_stand_alone_and_fit(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    for path in pages(tmp_path):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        requests: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda one, seen=requests: seen.append(one.url))
        page.on("console", lambda one, seen=complaints: seen.append(one.text))
        page.goto(path.as_uri())
        assert requests == [path.as_uri()]
        assert complaints == []
        assert page.locator("svg").count() >= 2
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("summary").first.click()
        assert page.locator("details[open] pre").first.is_visible()
        page.close()
