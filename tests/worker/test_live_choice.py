from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.parsers.output import OutputReader
from engine.parsers.token_stream import TokenStream
from engine.request import Request, SamplingParams, StopRules
from engine.tokenizer import Tokenizer
from schemas.completions import parse_completion_request
from tests.engine.tiny_tokenizers import tiny_tokenizer
from tests.worker.doubles import TextTokenizer
from worker.live_choice import LiveChoice, live_completion_choice


def live(*stops: str, prefix: str = "") -> LiveChoice:
    tokenizer: Any = TextTokenizer()
    texts = TokenStream(tokenizer, OutputReader(tokenizer, ()), is_guarded=False)
    return LiveChoice(index=0, texts=texts, stops=stops, prefix=prefix)


def request(prompt: list[int], output: list[int]) -> Request:
    return Request(
        request_id="r",
        prompt_token_ids=prompt,
        output_token_ids=output,
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=9),
    )


def test_a_character_is_shown_when_it_is_whole() -> None:
    choice = live()
    pieces = [choice.feed([byte], None).content for byte in "a€b".encode()]
    assert pieces == ["a", "", "", "€", "b"]


def test_a_text_that_nobody_parses_keeps_its_private_characters() -> None:
    completion = parse_completion_request({"model": "m", "prompt": "x"})
    tokenizer: Any = TextTokenizer()
    choice = live_completion_choice(0, completion, tokenizer, "", request([], []))
    assert choice is not None
    assert choice.feed(list("a\U000f0003b".encode()), None).content == "a\U000f0003b"


def test_what_may_become_a_stop_string_is_held_back() -> None:
    choice = live("END", "E!")
    pieces = [choice.feed([byte], None).content for byte in b"xEN EEx"]
    assert pieces == ["x", "", "", "EN ", "", "E", "Ex"]


def test_an_echoed_prompt_comes_first() -> None:
    choice = live(prefix="prompt ")
    assert choice.feed(list(b"a"), None).content == "prompt a"
    assert choice.feed(list(b"b"), None).content == "b"


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "legacy_llama"])
@pytest.mark.parametrize("echo", [False, True])
def test_the_space_that_a_decoder_drops_stands_between_prompt_and_answer(
    kind: str, echo: bool
) -> None:
    tokenizer = Tokenizer(tiny_tokenizer(kind))
    prompt = tokenizer.encode_text("hello", add_special_tokens=False)
    output = tokenizer.encode_text("hello the end", add_special_tokens=False)[len(prompt) :]
    completion = parse_completion_request({"model": "m", "prompt": "hello", "echo": echo})
    for before, shown in ((prompt, " the end"), ([], tokenizer.decode(output))):
        running = request(before, output)
        choice = live_completion_choice(0, completion, tokenizer, "hello", running)
        assert choice is not None
        said = "".join(choice.feed([token_id], None).content for token_id in output)
        assert said == ("hello" if echo else "") + shown


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\ufffd"), max_size=30),
    st.lists(st.text("ab€ ", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 5), max_size=40),
)
def test_what_is_shown_is_always_a_beginning_of_the_answer(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    found = [text.index(stop) for stop in stops if stop in text]
    answer = text[: min(found)] if found else text
    data = list(answer.encode())  # the engine ends the request with the stop string
    choice, shown = live(*stops), ""
    for size in sizes:
        shown += choice.feed(data[:size], None).content if data else ""
        data = data[size:]
        assert answer.startswith(shown)
