import json
import logging
from collections.abc import Iterator

import pytest

from worker.logging import configure_logging, redact_url


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_json_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    try:
        raise ValueError("x\ny")
    except ValueError:
        logging.getLogger("a.b").exception("what %s", "now\nthen")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record["message"] == "what now\nthen"
    assert record["level"] == "error"
    assert record["logger"] == "a.b"
    assert "ValueError" in record["traceback"]


def test_a_message_cannot_forge_lines_or_colours(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("a").info("id %s", "x\n12:00:00 INFO forged \x1b[31m")
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert "\x1b" not in captured


def test_quiet_hides_what_the_progress_bar_says(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(quiet=True)
    logging.getLogger("a").info("hidden")
    logging.getLogger("a").warning("shown")
    captured = capsys.readouterr().err
    assert "hidden" not in captured
    assert "shown" in captured


def test_an_asked_for_level_wins_over_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(quiet=True, level="debug")
    logging.getLogger("a").debug("shown")
    assert "shown" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://:se@cr:et@host", "redis://:***@host"),
        ("unix:///run/s?password=secret&db=1", "unix:///run/s?password=***&db=1"),
        ("redis://host:6379", "redis://host:6379"),
        ("redis://host:6379/0?client_name=a@b", "redis://host:6379/0?client_name=a@b"),
    ],
)
def test_passwords_do_not_reach_the_log(url: str, shown: str) -> None:
    assert redact_url(url) == shown
