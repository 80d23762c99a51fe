"""`read_json_at` reads in windows; that must not show."""

import json
import time
from typing import Any

import pytest

from engine.parsers.arguments import JSON_ERRORS, read_json_at

WINDOW = 4096
BODIES = [
    '"%s"',
    '["%s", 123456, -1.5e3]',
    '{"k": "%s", "z": true, "y": [null, "\\u00e9\\ud83c\\udf89"]}',
    '{"k": "%s',
    '{"k": "%s" tru',
    '{"k": "%s", "z": nul}',
    "[%s",
]


def outcome(read: Any) -> Any:
    try:
        return read()
    except json.JSONDecodeError as error:
        return error.msg, error.pos
    except JSON_ERRORS as error:
        return type(error)


@pytest.mark.parametrize("body", BODIES)
def test_a_value_reads_the_same_wherever_a_window_ends(body: str) -> None:
    for length in [*range(WINDOW - 40, WINDOW + 8), 8 * WINDOW - 9, 8 * WINDOW, 70_000]:
        text = "  x" + body % ("a" * length) + " {"
        expected = outcome(lambda text=text: json.JSONDecoder().raw_decode(text, 3))
        assert outcome(lambda text=text: read_json_at(text, 3)) == expected


def test_a_number_at_the_end_of_a_window_is_read_to_its_end() -> None:
    for spaces in range(WINDOW - 12, WINDOW + 2):
        text = "[" + " " * spaces + "1234567890]"
        assert read_json_at(text, 0) == ([1234567890], len(text))


def test_many_errors_in_a_long_text_take_linear_time() -> None:
    text = '{"a": oops} ' * 16_000
    begin = time.process_time()
    for start in range(0, len(text), 12):
        with pytest.raises(json.JSONDecodeError):
            read_json_at(text, start)
    assert time.process_time() - begin < 2
