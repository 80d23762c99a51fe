"""The comparison of answers with and without int8 weights."""

import json

import numpy as np
import pytest

from bench.int8_accuracy import Answer, compare, main


def answer(token_ids: list[int], *logprobs: float) -> Answer:
    return Answer(token_ids, np.array(logprobs, np.float32))


def test_answers_and_log_probabilities_are_compared_one_by_one() -> None:
    before = [answer([1, 2, 3], -1.0, -2.0), answer([4, 5], -3.0), answer([6], -4.0)]
    after = [answer([1, 9, 3], -1.5, -2.0), answer([4, 5], -2.0), answer([6, 7], -4.0)]
    found = compare(before, after)
    assert (found["requests"], found["equal_answers"], found["equal_share"]) == (3, 1, 0.3333)
    assert found["median_tokens_before_parting"] == 1
    assert found["median_tokens_of_answer"] == 2
    assert found["prompt_tokens"] == 4
    assert found["logprob_difference_mean"] == 0.125
    assert found["logprob_difference_mean_absolute"] == 0.375
    assert found["logprob_difference_largest"] == 1.0
    assert found["prompt_perplexity_before"] == pytest.approx(np.exp(2.5), abs=1e-4)
    assert found["prompt_perplexity_after"] == pytest.approx(np.exp(2.375), abs=1e-4)
    assert compare(before, before)["median_tokens_before_parting"] is None


def test_the_command_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--per-task", "1"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["requests"] == 9
    assert 0 < line["logprob_difference_mean_absolute"] < 0.1
