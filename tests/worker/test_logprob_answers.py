import numpy as np
import pytest

from engine.logprobs import LogprobRecord, LogprobRows
from engine.request import Request, SamplingParams, StopRules
from schemas.chat import parse_chat_request
from schemas.completions import parse_completion_request
from tests.worker.doubles import EOS, TextTokenizer
from worker.logprob_answers import (
    TokenNames,
    chat_logprobs,
    completion_logprobs,
    prompt_logprobs,
    text_offsets,
    wanted_of_chat,
    wanted_of_completion,
)

NAMES = TokenNames(TextTokenizer())  # type: ignore[arg-type]
INF = float("inf")


def offsets(text: str, tokens: bytes) -> list[int]:
    return text_offsets(text, tokens, NAMES.tokenizer)


def finished(prompt: bytes, output: bytes, first_token: int) -> Request:
    """A request whose record says of token i: -i, and that only b"x" was likelier."""
    tokens = [*prompt, *output]
    indices = np.arange(first_token, len(tokens))
    record = LogprobRecord(first_token=first_token, num_top=2)
    ids = np.array([[ord("x"), token] for token in tokens[first_token:]], np.int64).reshape(-1, 2)
    record.extend(
        LogprobRows(
            first_token,
            -indices.astype(np.float32),
            np.full(len(indices), 2),
            ids,
            np.repeat(-indices[:, None].astype(np.float32), 2, axis=1) + np.array([0.5, 0.0]),
        )
    )
    return Request(
        request_id="r",
        prompt_token_ids=list(prompt),
        output_token_ids=list(output),
        sampling=SamplingParams(),
        stop=StopRules(max_tokens=9),
        logprobs=record,
    )


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("abc", b"abc", [0, 1, 2]),
        ("aé", "aé".encode(), [0, 1, 1]),
        ("é�a", b"\xc3\xa9\xe5a", [0, 0, 1, 2]),  # a character that is never completed
        ("ab", b"a\0b", [0, 1, 1]),  # a special token that is not shown
        ("a<eos>b", b"a\0b", [0, 1, 6]),
        ("ab", b"abEND", [0, 1, 2, 2, 2]),  # a stop string was cut off
        ("a", b" a", [0, 0]),  # the decoder dropped the first space
        ("", b"", []),
    ],
)
def test_offsets(text: str, tokens: bytes, expected: list[int]) -> None:
    assert EOS == 0
    assert offsets(text, tokens) == expected


def test_the_legacy_form_has_four_columns_of_one_length() -> None:
    request = finished(b"abc", b"de", first_token=1)
    shown = completion_logprobs(("abc", request), ("de", request), 1, NAMES)
    assert shown.tokens == list("abcde")
    assert shown.token_logprobs == [None, -1, -2, -3, -4]
    assert shown.top_logprobs[0] is None
    assert shown.top_logprobs[2] == {"x": -1.5, "c": -2}
    assert shown.text_offset == [0, 1, 2, 3, 4]
    without_echo = completion_logprobs(None, ("de", request), 0, NAMES)
    assert without_echo.tokens == ["d", "e"]
    assert without_echo.top_logprobs == [{"d": -3}, {"e": -4}]
    assert without_echo.text_offset == [0, 1]


def test_tokens_before_the_first_scored_one_have_null() -> None:
    request = finished(b"abcd", b"", first_token=3)
    shown = completion_logprobs(("abcd", request), ("", request), 2, NAMES)
    assert shown.token_logprobs == [None, None, None, -3]
    unscored = finished(b"abcd", b"e", first_token=4)
    assert prompt_logprobs(unscored, 1, NAMES) == [None] * 4


def test_of_two_tokens_that_look_alike_the_likelier_is_shown() -> None:
    request = finished(b"a", b"x", first_token=1)
    (top,) = completion_logprobs(None, ("x", request), 2, NAMES).top_logprobs
    assert top == {"x": -0.5}


def test_chat_has_the_bytes_of_each_token() -> None:
    request = finished(b"a", "é".encode() + b"\0", first_token=1)
    content = chat_logprobs(request, 1, NAMES).content
    assert content is not None
    assert [entry.token for entry in content] == ["\\xc3", "\\xa9", "<eos>"]
    assert [entry.bytes for entry in content] == [[0xC3], [0xA9], list(b"<eos>")]
    assert [len(entry.top_logprobs) for entry in content] == [1, 1, 1]
    assert chat_logprobs(request, 0, NAMES).content[0].top_logprobs == []  # type: ignore[index]


def test_an_impossible_token_has_the_least_number() -> None:
    request = finished(b"a", b"b", first_token=1)
    assert request.logprobs is not None
    request.logprobs.rows().logprobs[0] = -INF
    content = chat_logprobs(request, 0, NAMES).content
    assert content is not None
    assert content[0].logprob == -9999.0


def test_prompts_show_ranks() -> None:
    request = finished(b"ab", b"", first_token=1)
    entries = prompt_logprobs(request, 1, NAMES)
    assert entries is not None
    assert entries[0] is None
    assert entries[1] is not None
    assert {token: (e.logprob, e.rank) for token, e in entries[1].items()} == {
        ord("x"): (-0.5, 1),
        ord("b"): (-1, 2),
    }
    assert prompt_logprobs(request, None, NAMES) is None


def test_what_a_request_wants() -> None:
    def of_chat(**parameters: object) -> tuple[int, bool, int | None] | None:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **parameters}
        wanted = wanted_of_chat(parse_chat_request(body))
        return wanted and (wanted.num_top, wanted.of_output, wanted.prompt_from)

    assert of_chat() is None
    assert of_chat(logprobs=False) is None
    assert of_chat(logprobs=True) == (0, True, None)
    assert of_chat(logprobs=True, top_logprobs=3) == (3, True, None)
    assert of_chat(prompt_logprobs=5) == (5, False, 1)

    def of_text(**parameters: object) -> tuple[int, bool, int | None] | None:
        body = {"model": "m", "prompt": "x", **parameters}
        wanted = wanted_of_completion(parse_completion_request(body))
        return wanted and (wanted.num_top, wanted.of_output, wanted.prompt_from)

    assert of_text(echo=True) is None
    assert of_text(logprobs=2) == (2, True, None)
    assert of_text(logprobs=2, echo=True) == (2, True, 1)
    assert of_text(logprobs=0, echo=True, logprob_start_len=7) == (0, True, 7)
