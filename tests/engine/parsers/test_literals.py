import ast
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.parsers.literals import (
    LITERAL_ERRORS,
    MAX_DEPTH,
    MAX_LENGTH,
    argument_name,
    literal_value,
    parse_source,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def value_of(source: str) -> Any:
    return literal_value(parse_source(source))


@given(VALUES)
def test_what_python_prints_is_read_back(value: Any) -> None:
    assert value_of(repr(value)) == value


@given(st.text(alphabet="'\"\\abnrtx0u{}[]()\n\r\t é", max_size=20))
def test_any_text_is_read_or_refused(source: str) -> None:
    with suppress(*LITERAL_ERRORS):
        value_of(source)


@given(st.text(alphabet="'\\abn \n\r\x00\"", max_size=12))
def test_a_string_that_python_takes_keeps_its_value(inner: str) -> None:
    source = f"'{inner}'"
    try:
        expected = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return
    if isinstance(expected, str):
        assert value_of(source) == expected


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("'a\nb'", "a\nb"),
        ("'a\x00b'", "a\x00b"),
        (r"'\d \\d \q'", r"\d \d \q"),
        (r"r'\d'", r"\d"),
        ("'''a'b\nc'''", "a'b\nc"),
        ("(1, {2})", [1, [2]]),
        ("[TRUE, Null, none]", [True, None, None]),
        ("-0.5", -0.5),
        ("  [1]\n", [1]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_models_write(source: str, value: Any) -> None:
    assert value_of(source) == value


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x",
        "f()",
        "1 + 1",
        "-True",
        "-'a'",
        "not 1",
        "b'x'",
        "...",
        "2j",
        "1e999",
        "-1e999",
        "{None: 1}",
        "{**{}}",
        "[*[]]",
        "f'{x}'",
        "'a",
        "lambda: 1",
        "[x for x in []]",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "'" + "a" * MAX_LENGTH + "'",
    ],
)
def test_what_is_no_literal_is_refused(source: str) -> None:
    with pytest.raises(LITERAL_ERRORS):
        value_of(source)


@pytest.mark.parametrize(
    "piece", ["'", "'\\", "'a", '"""', "'''a", "\\", "-", "(", "a.b", "1+", "{1:"]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    begin = time.process_time()
    with suppress(*LITERAL_ERRORS):
        value_of(piece * (200_000 // len(piece)))
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("source", "value"),
    [("07", 7), ("-012", -12), ("[00, 0, 1_0]", [0, 0, 10]), ("{'a': 05}", {"a": 5})],
)
def test_whole_numbers_may_be_padded(source: str, value: Any) -> None:
    assert value_of(source) == value


def test_strings_and_other_numbers_keep_their_zeros() -> None:
    assert value_of("['007', 0.5, 1.07, 0x1F, 07]") == ["007", 0.5, 1.07, 31, 7]


def test_words_of_python_may_name_arguments() -> None:
    node = parse_source("f(from='from=1', in = 2, x=True, fromage=3)")
    assert isinstance(node, ast.Call)
    names = [argument_name(str(item.arg)) for item in node.keywords]
    assert names == ["from", "in", "x", "fromage"]
    assert [literal_value(item.value) for item in node.keywords] == ["from=1", 2, True, 3]
