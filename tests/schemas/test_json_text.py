import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json_text import canonical_json, compact_json, parse_json, parse_json_line

REFUSED = {
    "empty": b"",
    "only spaces": b"  ",
    "NaN": b'{"a": NaN}',
    "nan": b"nan",
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b"[-Infinity]",
    "1e999": b'{"a": {"b": [1, "x", {"c": 1e999}]}}',
    "-1e999 alone": b"-1e999",
    "a 400-digit float": b"1" * 400 + b".5",
    "a huge exponent": b"[1e99999999999999999999]",
    "10,000 digits": b'{"n": ' + b"1" * 10_000 + b"}",
    "4,301 digits": b"1" * 4_301,
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep open lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "invalid UTF-8": b'{"a": "\xff"}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00"',
    "a high surrogate and a letter": rb'"\ud800\u0041"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "two values": b"{} {}",
    "a trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
    "a comment": b"/* no */ 1",
    "a leading zero": b"01",
    "a plus": b"+1",
    "a bare fraction": b".5",
    "a bare point": b"1.",
    "a raw line end in a string": b'"a\nb"',
    "a NUL in a string": b'"a\x00b"',
    "a number as a key": b"{1: 2}",
    "cut off": b'{"a": [1, 2',
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_text_that_is_not_strict_json_is_a_value_error(data):
    with pytest.raises(ValueError) as caught:
        parse_json(data)
    assert type(caught.value) is ValueError
    assert 0 < len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"a": 1, "a": 2}\r\n', {"a": 2}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        ("\u2028\u0085é".encode().join([b'"', b'"']), "\u2028\u0085é"),
        (b"9223372036854775808", 2**63),
        (b"1" * 4_300, int("1" * 4_300)),
        (b"-0", 0),
        (b"1e-999", 0.0),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (b"0e999", 0.0),
        (b"[1.0]", [1.0]),
        (rb'"\u0000"', "\x00"),
        (b'{"": null, "t": true}', {"": None, "t": True}),
    ],
)
def test_strict_json_parses(data, value):
    parsed = parse_json(data)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_float_and_an_integer_stay_apart():
    assert type(parse_json(b"1.0")) is float
    assert type(parse_json(b"1")) is int


def test_depth_of_two_hundred_is_allowed():
    assert parse_json(b"[" * 200 + b"]" * 200)
    with pytest.raises(ValueError, match="recursion"):
        parse_json(b"[" * 202 + b"]" * 202)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_value_error(data):
    try:
        parse_json(data)
    except ValueError as error:
        assert type(error) is ValueError  # noqa: PT017


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_values_survive_a_round_trip(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(canonical_json(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_read_exactly(value):
    assert parse_json(repr(value).encode()) == value


@given(st.dictionaries(st.text(), json_values, min_size=2))
def test_the_canonical_form_does_not_depend_on_key_order(value):
    backwards = dict(reversed(value.items()))
    assert canonical_json(backwards) == canonical_json(value)


@given(json_values)
def test_the_compact_form_keeps_values_and_the_order_of_keys(value):
    assert parse_json(compact_json(value)) == value
    assert compact_json({"b": 1, "a": [value, {"d": "é", "c": None}]}).startswith(b'{"b":1,"a":[')
    assert compact_json({"d": "é", "c": None}) == '{"d":"é","c":null}'.encode()


def test_the_canonical_form_is_compact_sorted_utf8():
    assert (
        canonical_json({"b": [1, 2.5, None], "a": "é\n"})
        == '{"a":"é\\n","b":[1,2.5,null]}'.encode()
    )


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}, "\ud800"])
def test_what_json_can_not_spell_has_no_canonical_form(value):
    with pytest.raises(ValueError):
        canonical_json(value)


def test_what_is_wrong_with_a_line_is_told_by_its_column() -> None:
    assert parse_json_line(b'{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match=r"^expected value at column 7$"):
        parse_json_line(b'{"a": x}')
