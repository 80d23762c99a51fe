"""The page in a real browser, without a window."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.online_site import OnlineSite

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.redis, pytest.mark.slow]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as engine:
        one = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


class Visit:
    """A signed-in visitor; remembers what went wrong in the browser and where it went."""

    def __init__(self, browser: Any, site: OnlineSite, key: str, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.goto(site.url)
        self.page.wait_for_function("document.activeElement.id === 'key'")
        self.page.keyboard.type(key)
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("#batches")

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def upload(self, path: Path) -> None:
        self.page.set_input_files("#file", str(path))
        self.page.get_by_role("button", name="Upload and run").press("Enter")
        self.page.wait_for_load_state("load")


@pytest.fixture(scope="module")
def visit(browser: Any, online: OnlineSite) -> Iterator[Visit]:
    one = Visit(browser, online, online.key)
    yield one
    one.context.close()
    assert one.complaints == []
    assert one.hosts == {f"127.0.0.1:{online.port}"}


def _requests(path: Path, count: int, **changes: Any) -> Path:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    rows = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body | changes | ({"temperature": 99} if number == 1 else {}),
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_batch_is_uploaded_watched_and_downloaded(visit: Visit, tmp_path: Path) -> None:
    visit.upload(_requests(tmp_path / "in.jsonl", 5))
    row = visit.page.locator("#batches tbody tr").first
    row.get_by_text("completed").wait_for()
    assert "5 of 5, 1 failed" in row.inner_text()
    assert "decimal_above_max_value" in row.inner_text()
    assert row.get_by_role("progressbar").get_attribute("value") == "100"
    with visit.page.expect_download() as started:
        row.get_by_role("link", name="Results").press("Enter")
    results = Path(started.value.path()).read_text().splitlines()
    assert {json.loads(line)["custom_id"] for line in results} == {"r0", "r2", "r3", "r4"}
    assert visit.page.inner_text("#connection") == "live"


def test_a_batch_is_cancelled_with_the_keyboard(visit: Visit, tmp_path: Path) -> None:
    visit.upload(_requests(tmp_path / "in.jsonl", 400, max_tokens=400, ignore_eos=True))
    row = visit.page.locator("#batches tbody tr").first
    row.get_by_text("in progress").wait_for()
    visit.page.locator("#batches").focus()
    for _ in range(5):
        visit.page.keyboard.press("Tab")
        if "Cancel" in visit.page.evaluate("document.activeElement.textContent"):
            break
    visit.page.wait_for_timeout(2500)  # the page is refreshed meanwhile
    assert "Cancel" in visit.page.evaluate("document.activeElement.textContent")
    asked: list[str] = []
    visit.page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    visit.page.keyboard.press("Enter")
    visit.page.locator("#batches tbody tr").first.get_by_text("cancelled", exact=True).wait_for()
    assert len(asked) == 1


def test_a_file_that_is_no_batch_says_so(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "<b>bad.jsonl"
    path.write_text("not json\n")
    visit.upload(path)
    row = visit.page.locator("#batches tbody tr").first
    row.get_by_text("failed", exact=True).wait_for()
    assert "invalid_json_line" in row.inner_text()


def test_another_tenant_sees_nothing_of_it(browser: Any, online: OnlineSite, visit: Visit) -> None:
    mine = visit.page.locator("#batches tbody th code").all_inner_texts()
    other = Visit(browser, online, online.other_key)
    theirs = other.page.locator("#batches tbody th code").all_inner_texts()
    assert mine
    assert not set(mine) & set(theirs)
    cookies = other.context.cookies()
    assert [(each["httpOnly"], each["sameSite"]) for each in cookies] == [(True, "Strict")]
    other.page.get_by_role("button", name="Sign out").click()
    other.page.get_by_label("API key").wait_for()
    assert other.context.cookies() == []
    other.context.close()


_CONTRAST = """() => {
  const light = (text) => {
    const parts = text.match(/[0-9.]+/g).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const behind = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : color;
  };
  return [...document.querySelectorAll("h1, h2, small, th, td, a, dt, dd, button, label, code")]
    .filter((node) => node.innerText)
    .map((node) => {
      const pair = [light(getComputedStyle(node).color), light(behind(node))].sort();
      const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
      return [ratio, node.outerHTML.slice(0, 80)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_can_be_read_anywhere(visit: Visit, tmp_path: Path, scheme: str, width: int) -> None:
    page = visit.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_CONTRAST) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(251, 250, 248)", "dark": "rgb(20, 24, 26)"}[scheme]
