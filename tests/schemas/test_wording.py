import math

import pytest

from schemas.wording import MAX_SHOWN_CHARS, param_path, quoted_list, show, type_name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "a boolean"),
        (1, "an integer"),
        (1.5, "a decimal number"),
        ("x", "a string"),
        ([], "an array"),
        ({}, "an object"),
        (None, "null"),
    ],
)
def test_types_have_json_names(value, name):
    assert type_name(value) == name


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        ("a\nb", r"'a\nb'"),
        (True, "true"),
        (99, "99"),
        (-(2**63), "-9223372036854775808"),
        (2.0, "2"),
        (2.1, "2.1"),
        (1e300, "1e+300"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (None, "null"),
        ({"a": 1}, "an object"),
        (["a", 1, ["b"]], "['a', 1, an array]"),
        ([1, 2, 3, 4, 5], "[1, 2, 3, 4, ...]"),
    ],
)
def test_values_are_shown_as_the_client_wrote_them(value, shown):
    assert show(value) == shown


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, "\n" * 10_000, "\ud800", 10**10_000, -(10**999)],
    ids=["long", "line ends", "surrogate", "huge", "large"],
)
def test_no_value_makes_a_message_long_or_unprintable(value):
    shown = show(value)
    assert len(shown.encode()) <= 2 * MAX_SHOWN_CHARS + 10
    assert shown.isprintable()


def test_a_huge_integer_is_shown_by_its_size():
    assert show(-(10**5_000)) == "about -10^5000"


@pytest.mark.parametrize(
    ("words", "text"),
    [(["a"], "'a'"), (["a", "b"], "'a' and 'b'"), (["a", "b", "c"], "'a', 'b', and 'c'")],
)
def test_lists_have_openais_commas(words, text):
    assert quoted_list(words) == text


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ((), None),
        (("n",), "n"),
        (("messages", 0, "role"), "messages[0].role"),
        (("response_format", "json_schema", "name"), "response_format.json_schema.name"),
    ],
)
def test_places_are_paths(location, path):
    assert param_path(location) == path
