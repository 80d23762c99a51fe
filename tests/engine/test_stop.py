import pytest

from engine.request import FinishReason, Request, SamplingParams, StopRules
from engine.stop import append_token


class _Matcher:
    """Matches when the token ids spell the stop string."""

    stop_string = "ab"

    def __init__(self) -> None:
        self.text = ""

    def append(self, token_id: int) -> bool:
        self.text += chr(token_id)
        return self.text.endswith("ab")


def _request(**rules: object) -> Request:
    return Request(
        request_id="r",
        prompt_token_ids=[1, 2, 3],
        sampling=SamplingParams(),
        stop=StopRules(**{"max_tokens": 100, "eos_token_ids": frozenset({7}), **rules}),
    )


def _feed(request: Request, *tokens: int, max_model_len: int = 1000) -> list[bool]:
    return [append_token(request, token, max_model_len) for token in tokens]


def test_eos_stops_without_a_stop_reason_and_stays_in_the_output() -> None:
    request = _request()
    assert _feed(request, 5, 7) == [False, True]
    assert (request.finish_reason, request.stop_reason) == (FinishReason.STOP, None)
    assert request.output_token_ids == [5, 7]


def test_ignore_eos_disables_eos_but_not_stop_ids() -> None:
    request = _request(ignore_eos=True, stop_token_ids=frozenset({9}))
    assert _feed(request, 7, 9) == [False, True]
    assert request.stop_reason == 9


@pytest.mark.parametrize("token", [7, 9])
def test_min_tokens_holds_back_eos_and_stop_ids(token: int) -> None:
    request = _request(min_tokens=3, stop_token_ids=frozenset({9}))
    assert _feed(request, token, token, token) == [False, False, True]


def test_a_stop_string_ends_with_itself_as_the_reason() -> None:
    request = _request()
    request.stop_matcher = _Matcher()
    assert _feed(request, ord("a"), ord("b")) == [False, True]
    assert (request.finish_reason, request.stop_reason) == (FinishReason.STOP, "ab")


def test_limits_end_with_length_and_a_stop_at_the_limit_is_a_stop() -> None:
    assert _feed(_request(max_tokens=2), 5, 5) == [False, True]
    request = _request(max_tokens=1)
    _feed(request, 7)
    assert request.finish_reason is FinishReason.STOP
    request = _request()
    assert _feed(request, 5, 5, max_model_len=5) == [False, True]
    assert request.finish_reason is FinishReason.LENGTH
