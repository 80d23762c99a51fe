import pytest

from engine.parsers.contract import ParsedTools, ToolCall
from engine.parsers.stripped import stripped
from engine.parsers.thoughts import after_thoughts

CALL = ToolCall("f", "{}")


def parse(text: str) -> ParsedTools:
    """Every "!" is a call."""
    content = text.replace("!", "")
    calls = (CALL,) * text.count("!")
    return ParsedTools(content if content.strip() else None, calls, "odd" if "?" in text else None)


@pytest.mark.parametrize(
    ("text", "content", "num_calls"),
    [
        ("a!b", "ab", 1),
        ("<t>a!</t>b!", "<t>a!</t>b", 1),
        (" \n<t>a!</t> \n!", " \n<t>a!</t> \n", 1),
        ("<t>a!", "<t>a!", 0),
        ("a<t>!</t>", "a<t></t>", 1),
        ("<t></t>", "<t></t>", 0),
        ("<t>!</t>a</t>!", "<t>!</t>a</t>", 1),
    ],
)
def test_calls_in_thoughts_are_none(text: str, content: str, num_calls: int) -> None:
    parsed = after_thoughts(text, ("<t>", "</t>"), parse)
    assert (parsed.content, len(parsed.calls), parsed.error) == (content, num_calls, None)


def test_errors_behind_thoughts_are_kept() -> None:
    assert after_thoughts("<t></t>?", ("<t>", "</t>"), parse).error == "odd"


def test_only_answers_with_calls_are_stripped() -> None:
    assert stripped(ParsedTools(" a \n", (CALL,), "odd")) == ParsedTools("a", (CALL,), "odd")
    assert stripped(ParsedTools(" a \n")) == ParsedTools(" a \n")
    assert stripped(ParsedTools(None, (CALL,))) == ParsedTools(None, (CALL,))
