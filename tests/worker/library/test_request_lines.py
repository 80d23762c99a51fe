import json
from typing import Any

import pytest

from worker.library.errors import HeadraceError
from worker.library.request_lines import RequestDefaults, line_of, write_lines

NOTHING = RequestDefaults(fields={})
HELLO = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ("hello", {"url": "/v1/chat/completions", "body": {"messages": HELLO}}),
        ({"messages": HELLO}, {"url": "/v1/chat/completions", "body": {"messages": HELLO}}),
        ({"prompt": "hello"}, {"url": "/v1/completions", "body": {"prompt": "hello"}}),
        ({"url": "/v1/x", "body": {}}, {"url": "/v1/x", "body": {}}),
        ({"body": "text"}, {"body": "text"}),
    ],
)
def test_items_become_lines(item: Any, line: dict[str, Any]) -> None:
    expected = {"custom_id": "7", "method": "POST", **line}
    assert line_of(7, item, NOTHING) == expected


def test_what_a_request_says_goes_before_the_defaults() -> None:
    defaults = RequestDefaults(model="m", system="Be brief.", fields={"seed": 1, "top_p": 0.5})
    line: Any = line_of(0, {"messages": HELLO, "model": "n", "seed": 2}, defaults)
    assert line["body"] == {
        "model": "n",
        "seed": 2,
        "top_p": 0.5,
        "messages": [{"role": "system", "content": "Be brief."}, *HELLO],
    }
    own = [{"role": "system", "content": "Be long."}, *HELLO]
    line = line_of(0, {"messages": own}, defaults)
    assert line["body"]["messages"] == own
    line = line_of(0, {"messages": "nonsense"}, defaults)
    assert line["body"]["messages"] == "nonsense"


def test_the_file_has_a_line_for_each_item_also_for_what_is_none() -> None:
    written = write_lines(iter(["grüß dich", 5, None, ["x"]]), NOTHING)
    lines = written.file.path.read_text("utf-8").splitlines()
    written.file.path.unlink()
    assert written.num_requests == len(lines) == 4
    assert "grüß dich" in lines[0]
    assert [json.loads(line) for line in lines[1:]] == [5, None, ["x"]]


def test_an_item_that_is_no_json_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for bad in ({"messages": {1, 2}}, {"temperature": float("nan")}, "\udc80"):
        with pytest.raises(HeadraceError, match="request 1 cannot be written as JSON"):
            write_lines(["fine", bad], NOTHING)
    assert not list(tmp_path.iterdir())
