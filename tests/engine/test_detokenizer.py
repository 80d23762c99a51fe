from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.detokenizer import MessageHeads, StopStringMatcher
from engine.tokenizer import Tokenizer, load_tokenizer
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer
from tests.engine.tiny_tokenizers import tiny_tokenizer

TOKENIZERS = {kind: Tokenizer(tiny_tokenizer(kind)) for kind in ("byte_level", "metaspace")}
ALPHABET = ["a", "b", " ", "\n", "é", "日", "🙂", "hello", " world", "STOP", "\ufffd"]


@pytest.fixture(scope="module")
def demo(random_folder: Path) -> Tokenizer:
    return load_tokenizer(random_folder, "demo")


def _feed(matcher: StopStringMatcher, token_ids: Sequence[int]) -> int | None:
    """How many tokens it takes to stop; None if it does not."""
    for count, token_id in enumerate(token_ids, start=1):
        if matcher.append(token_id):
            return count
    return None


def _first_stop(
    tokenizer: Tokenizer, token_ids: list[int], stops: Sequence[str]
) -> tuple[int, str, str] | None:
    """(tokens, text before, stop string) found by decoding everything after each token."""
    for count in range(1, len(token_ids) + 1):
        text = tokenizer.decode(token_ids[:count]).rstrip("\ufffd")
        found = [(text.find(s) + len(s), text.find(s), s) for s in stops if s in text]
        if found:
            _, start, stop = min(found)
            return count, text[:start], stop
    return None


def _assert_as_expected(tokenizer: Tokenizer, token_ids: list[int], stops: Sequence[str]) -> None:
    matcher = StopStringMatcher(tokenizer, stops)
    count = _feed(matcher, token_ids)
    expected = _first_stop(tokenizer, token_ids, stops)
    if expected is None:
        assert count is None
        assert matcher.text == tokenizer.decode(token_ids)
        assert matcher.stop_string is None
    else:
        assert (count, matcher.text, matcher.stop_string) == expected


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=25).map("".join),
    cuts=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 7)), min_size=1, max_size=4),
    kind=st.sampled_from(sorted(TOKENIZERS)),
)
def test_text_is_cut_at_the_first_stop_string_wherever_tokens_end(
    text: str, cuts: list[tuple[int, int]], kind: str
) -> None:
    tokenizer = TOKENIZERS[kind]
    token_ids = tokenizer.encode_prompt(text)
    whole = tokenizer.decode(token_ids)
    stops = [whole[start : start + length] for start, length in cuts]
    stops = [stop for stop in stops if stop and "\ufffd" not in stop] or ["STOP"]
    _assert_as_expected(tokenizer, token_ids, stops)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_tokens_are_treated_like_any_text(data: st.DataObject) -> None:
    """A model with random weights sends bytes that form no characters."""
    tokenizer = TOKENIZERS["byte_level"]
    token_ids = data.draw(st.lists(st.integers(5, len(tokenizer) - 1), min_size=1, max_size=60))
    whole = tokenizer.decode(token_ids)
    start = data.draw(st.integers(0, max(0, len(whole) - 1)))
    stop = whole[start : start + data.draw(st.integers(1, 5))]
    _assert_as_expected(tokenizer, token_ids, ["never there"])
    if stop and "\ufffd" not in stop:
        _assert_as_expected(tokenizer, token_ids, [stop])


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_replacement_characters_that_are_really_in_the_text_are_no_noise(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    token_ids = tokenizer.encode_prompt("a" + "\ufffd" * 20 + "日STOP")
    _assert_as_expected(tokenizer, token_ids, ["STOP"])


def test_the_stop_string_is_kept_when_asked_for() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    token_ids = tokenizer.encode_prompt("hello STOP world")
    matcher = StopStringMatcher(tokenizer, ["STOP"], include_stop_string=True)
    _feed(matcher, token_ids)
    assert matcher.text == "hello STOP"


@pytest.mark.parametrize(
    ("stops", "text", "cut"),
    [
        (["bcd", "c"], "abcd", "ab"),  # complete first, though the other one begins earlier
        (["c", "abc"], "abc", ""),  # both complete at once: the longer one
        (["zz", "b"], "abzz", "a"),
    ],
)
def test_the_stop_string_that_is_complete_first_wins(stops: list[str], text: str, cut: str) -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = [token_id for char in text for token_id in tokenizer.encode_prompt(char)]
    matcher = StopStringMatcher(tokenizer, stops)
    assert _feed(matcher, ids) is not None
    assert matcher.text == cut


def test_a_match_that_the_caller_did_not_want_is_passed_over() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    matcher = StopStringMatcher(tokenizer, ["ab"])
    ids = tokenizer.encode_prompt("xabyabz")
    matches = [matcher.append(token_id) for token_id in ids]
    assert matches.count(True) == 2
    assert not matches[-1]
    assert matcher.stop_string is None
    assert matcher.text == "xabyabz"


def test_special_tokens_are_shown_only_when_asked_for() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = tokenizer.encode_prompt("hello<|im_end|>")
    assert _feed(StopStringMatcher(tokenizer, ["<|im_end|>"]), ids) is None
    shown = StopStringMatcher(tokenizer, ["<|im_end|>"], skip_special_tokens=False)
    assert _feed(shown, ids) == len(ids)
    assert shown.text == "hello"


def test_an_unfinished_character_is_shown_at_the_end_only() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    *start, last = tokenizer.encode_prompt("a🙂")
    matcher = StopStringMatcher(tokenizer, ["x"])
    _feed(matcher, start)
    assert matcher.text == tokenizer.decode(start)
    matcher.append(last)
    assert matcher.text == "a🙂"


@pytest.mark.parametrize("stops", [[], [""], ["a", ""]])
def test_empty_stop_strings_are_refused(stops: list[str]) -> None:
    with pytest.raises(ValueError, match="empty"):
        StopStringMatcher(TOKENIZERS["byte_level"], stops)


@pytest.mark.parametrize("piece", ["\ufffd", "a", "🙂", " {"])
def test_work_for_a_token_does_not_grow_with_the_text(demo: Tokenizer, piece: str) -> None:
    """Also not for endless bytes that form no character, which greedy random models do send."""
    token_ids = demo.encode_prompt(piece) if piece != "\ufffd" else [130]
    assert piece != "\ufffd" or demo.decode(token_ids) == "\ufffd"
    matcher = StopStringMatcher(demo, ["never there"])

    def seconds(count: int) -> float:
        begin = perf_counter()
        for index in range(count):
            matcher.append(token_ids[index % len(token_ids)])
        return perf_counter() - begin

    seconds(200)
    early = min(seconds(200) for _ in range(5))
    seconds(8000)
    late = min(seconds(200) for _ in range(5))
    assert late < 5 * early


def _with_heads(
    *pieces: str, stops: Sequence[str], in_head: bool = True
) -> tuple[StopStringMatcher, int | None]:
    tokenizer = marked_tokenizer()
    ids = tokenizer.added_token_ids
    heads = MessageHeads(ids["</think>"], frozenset((ids["<tool_call>"], ids["</tool_call>"])))
    matcher = StopStringMatcher(tokenizer, stops, heads=heads, in_head=in_head)
    return matcher, _feed(matcher, marked_ids(tokenizer, *pieces))


def test_stop_strings_are_not_found_in_heads_of_messages() -> None:
    head, end, text = "<tool_call>", "</think>", "no end"
    pieces = (head, "final", end, text, "</tool_call>", "assistant", head, "final", end, "so final")
    matcher, count = _with_heads(*pieces, "!", stops=["final"])
    assert count == len(marked_ids(marked_tokenizer(), *pieces))
    assert matcher.text == "".join(pieces).removesuffix("final")


def test_an_output_that_begins_in_a_text_is_searched_from_its_beginning() -> None:
    assert _with_heads("final", stops=["final"])[1] is None
    assert _with_heads("final", stops=["final"], in_head=False)[1] == 5


def test_no_stop_string_is_found_across_a_head() -> None:
    pieces = ("fi", "<tool_call>", "n", "</think>", "al")
    assert _with_heads(*pieces, stops=["final", "fi<tool_call>"], in_head=False)[1] is None


def test_the_prompt_tells_whether_a_head_is_open() -> None:
    heads = MessageHeads(1, frozenset((2, 3)))
    assert [heads.is_open(prompt) for prompt in ([], [5], [1, 5, 2, 6], [2, 5, 1, 6])] == [
        False,
        False,
        True,
        False,
    ]
