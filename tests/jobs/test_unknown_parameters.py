import pytest

from jobs.unknown_parameters import without_unknown
from schemas.requests import CHAT_URL, COMPLETIONS_URL


def test_what_is_known_stays_as_it_is() -> None:
    body = {"model": "demo", "messages": [], "guided_json": {}, "user": None}
    assert without_unknown(CHAT_URL, body) is body
    assert set(without_unknown(COMPLETIONS_URL, body)) == set(body) - {"messages"}


def test_each_name_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    name = "never_heard_of" * 100
    for _ in range(3):
        assert without_unknown(CHAT_URL, {"model": "demo", name: 1}) == {"model": "demo"}
    (record,) = caplog.records
    assert "never_heard_of" in record.getMessage()
    assert len(record.getMessage()) < 500, "a client's text is shortened"
