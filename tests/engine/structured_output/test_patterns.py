r"""Patterns of schemas: ASCII classes, and patterns for whole texts."""

import re

import pytest

from engine.structured_output.patterns import ascii_classes, regex, whole_pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"\d+", "[0-9]+"),
        (r"[\d_]", "[0-9_]"),
        (r"[^\d]", r"[^\d]"),
        (r"\w\W", r"[A-Za-z0-9_]\W"),
        (r"\\d", r"\\d"),
        (r"[]\d]\d", r"[]0-9][0-9]"),
        ("a]\\d", "a][0-9]"),
    ],
)
def test_digits_and_letters_are_ascii(pattern, expected):
    assert ascii_classes(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^a+$", ["a", "aa"], ["ba", "ab", ""]),
        ("^a", ["a", "ab\nc"], ["ba"]),
        ("a$", ["a", "ba"], ["ab"]),
        ("a", ["a", "bac"], ["b"]),
        ("^a|b$", ["ax", "xb"], ["xax"]),
        ("^(a|b)$", ["a", "b"], ["ab"]),
        (r"^a\$", ["a$", "a$b"], ["a"]),
        ("^[|]$", ["|"], ["", "a"]),
        ("", ["", "x"], []),
    ],
)
def test_a_whole_text_matches_where_the_pattern_is_found(pattern, good, bad):
    whole = re.compile(whole_pattern(pattern))
    for text in (*good, *bad):
        assert bool(whole.fullmatch(text)) is bool(re.search(pattern, text)) is (text in good)


def test_a_terminal_escapes_slashes_and_line_breaks():
    assert regex("a/b\n\\/") == r"/a\/b\n\//"
