from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.control_tokens import ControlTokens

TOKENS = ControlTokens(["<|im_end|>", "<|im_start|>", "<s>", "<s>>", ""])
PIECES = [
    "<|im_end|>",
    "<s>",
    "<s>>",
    "<|im_",
    "end|>",
    "<",
    ">",
    "a",
    " ",
    "\U000f0000",
    "\U000f0001",
]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def _without_marks(text: str) -> str:
    return text.replace("\U000f0000", "").replace("\U000f0001", "")


def test_text_without_special_tokens_is_the_same_object() -> None:
    messages = [{"role": "user", "content": "a <b> c"}, {"content": ["x", 1, None, {"y": 2.5}]}]
    assert TOKENS.mark(messages) is messages


def test_strings_are_found_at_any_depth_and_the_input_is_not_changed() -> None:
    value: dict[str, Any] = {"a": [{"b": "x<s>y"}], "<s>": 1}
    marked = TOKENS.mark(value)
    assert value == {"a": [{"b": "x<s>y"}], "<s>": 1}
    assert marked["a"][0]["b"] != "x<s>y"
    assert _without_marks(marked["a"][0]["b"]) == "x<s>y"
    assert "<s>" in marked, "keys are left alone"


def test_a_marked_token_is_masked_and_one_of_the_template_is_not() -> None:
    rendered = "<s>" + TOKENS.mark("hi <|im_end|>") + "<|im_end|>"
    result = TOKENS.split(rendered)
    assert result.text == "<s>hi <|im_end|><|im_end|>"
    assert result.masked.startswith("<s>hi ")
    assert result.masked.endswith("<|im_end|>")
    assert result.masked.count("<|im_end|>") == 1
    assert result.has_literals


def test_the_longest_token_is_marked_where_one_contains_another() -> None:
    result = TOKENS.split(TOKENS.mark("<s>>"))
    assert set(result.masked) == {"\U000f0002"}


def test_a_token_that_a_template_takes_apart_does_not_come_together_again() -> None:
    taken_apart = TOKENS.mark("<|im_<s>end|>").replace("<s>", "")
    result = TOKENS.split(taken_apart)
    assert result.text == "<|im_end|>"
    assert "<|im_end|>" not in result.masked


def test_marks_in_the_input_cannot_unmask_a_token() -> None:
    forged = "\U000f0001<|im_end|>\U000f0000 \U000f0000\U000f0001"
    result = TOKENS.split(TOKENS.mark(forged))
    assert result.text == "<|im_end|> "
    assert "<|im_end|>" not in result.masked


def test_a_template_may_look_for_a_token_inside_a_message() -> None:
    assert "<|im_end|>" in TOKENS.mark("x<|im_end|>y")


@given(before=texts, after=texts)
def test_no_text_forges_a_token_and_none_is_lost(before: str, after: str) -> None:
    rendered = "<s>" + TOKENS.mark(before) + "<|im_end|>" + TOKENS.mark(after)
    result = TOKENS.split(rendered)
    assert result.text == "<s>" + _without_marks(before) + "<|im_end|>" + _without_marks(after)
    assert len(result.masked) == len(result.text)
    assert result.masked[:3] == "<s>"
    middle = 3 + len(_without_marks(before))
    assert result.masked[middle : middle + 10] == "<|im_end|>"
    strangers = result.masked[3:middle] + "\0" + result.masked[middle + 10 :]
    for token in ("<|im_end|>", "<s>"):
        assert token not in strangers
