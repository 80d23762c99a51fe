import pytest

from engine.request import FinishReason
from tests.fakes import make_request
from worker.handover import decode_progress, encode_progress


def test_progress_survives_the_round_trip() -> None:
    running = make_request("a", [1, 2])
    running.output_token_ids = [5, 6, 7]
    running.finish_reason = FinishReason.ABORT
    ended = make_request("b", [1, 2])
    ended.output_token_ids = [9]
    ended.finish_reason = FinishReason.STOP
    ended.stop_reason = "END"

    choices = decode_progress(encode_progress("me", [running, ended]), "me", num_choices=2)

    assert choices is not None
    assert choices[0].output_token_ids == [5, 6, 7]
    assert choices[0].finish_reason is None
    assert choices[1].output_token_ids == [9]
    assert choices[1].finish_reason is FinishReason.STOP
    assert choices[1].stop_reason == "END"


def test_nothing_produced_is_nothing_to_hand_over() -> None:
    assert encode_progress("me", [make_request("a", [1])]) == b""
    assert decode_progress(b"", "me", num_choices=1) is None


def test_progress_of_another_model_or_request_is_ignored() -> None:
    request = make_request("a", [1])
    request.output_token_ids = [2]
    progress = encode_progress("me", [request])
    assert decode_progress(progress, "you", num_choices=1) is None
    assert decode_progress(progress, "me", num_choices=2) is None
    assert decode_progress(progress, "me", num_choices=1) is not None


@pytest.mark.parametrize(
    "progress",
    [
        b"\xff",
        b"{}",
        b"[]",
        b'{"version":1,"identity":"me","choices":[{"tokens":["x"],"finish":null,"stop":null}]}',
        b'{"version":1,"identity":"me","choices":[{"tokens":[-1],"finish":null,"stop":null}]}',
        b'{"version":1,"identity":"me","choices":[{"tokens":[1],"finish":"bad","stop":null}]}',
        b'{"version":2,"identity":"me","choices":[]}',
    ],
)
def test_foreign_bytes_are_ignored(progress: bytes) -> None:
    assert decode_progress(progress, "me", num_choices=1) is None
