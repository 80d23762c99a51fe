"""Measuring what a cache of 8-bit floats costs."""

import json
from pathlib import Path

import pytest

from bench import kv_cache_dtype


def test_answers_are_compared_token_by_token() -> None:
    plain = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
    stored = [[1, 2, 3], [4, 6], [6, 7], [7, 8, 9, 11]]
    line = kv_cache_dtype.compare_answers(plain, stored)
    assert (line["requests"], line["tokens"], line["equal_share"]) == (4, 10, 0.25)
    assert line["median_tokens_before_the_first_difference"] == 1  # of 1, 1 and 3
    same = kv_cache_dtype.compare_answers(plain, plain)
    assert same["equal_share"] == 1
    assert same["median_tokens_before_the_first_difference"] is None


def test_log_probabilities_are_compared_one_by_one() -> None:
    line = kv_cache_dtype.compare_logprobs([-1.0, -2.0], [-1.5, -1.75])
    assert line["mean"] == -1.5
    assert line["mean_change"] == -0.125
    assert line["mean_difference"] == 0.375
    assert line["largest_difference"] == 0.5


def test_three_bits_of_mantissa_cost_attention_more_than_seven() -> None:
    line = kv_cache_dtype.compare_attention(64)
    assert 0.001 < line["bfloat16_error"] < 0.005  # type: ignore[operator]
    assert 0.02 < line["fp8_error"] < 0.08  # type: ignore[operator]


def test_the_command_runs_both_and_prints_lines(
    random_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", str(random_folder), "--per-task", "1", "--tokens", "3"]
    assert kv_cache_dtype.main(arguments) == 0
    machine, answers, logprobs, *attention = map(json.loads, capsys.readouterr().out.splitlines())
    assert "cores" in machine["machine"]
    assert answers["requests"] == 9
    assert logprobs["tokens"] > 500
    assert logprobs["largest_difference"] > 0
    assert [line["head_dim"] for line in attention] == [32, 48, 64, 128, 256]
