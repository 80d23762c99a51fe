import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import ModelRefusedError
from engine.model.generation import GenerationDefaults, end_token_ids, read_generation_defaults


def _write(folder: Path, values: Any) -> Path:
    (folder / "generation_config.json").write_text(json.dumps(values))
    return folder


def test_without_a_file_nothing_is_recommended(tmp_path: Path) -> None:
    assert read_generation_defaults(tmp_path, "m") == GenerationDefaults()


def test_what_the_file_says_is_taken_and_do_sample_is_not_looked_at(tmp_path: Path) -> None:
    values = {
        "do_sample": False,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0,
        "repetition_penalty": 1.05,
        "max_new_tokens": 512,
        "eos_token_id": 5,
        "cache_implementation": "static",
    }
    assert read_generation_defaults(_write(tmp_path, values), "m") == GenerationDefaults(
        temperature=0.6,
        top_p=0.95,
        top_k=20,
        min_p=0.0,
        repetition_penalty=1.05,
        max_new_tokens=512,
    )


@pytest.mark.parametrize("value", ["hot", True, [1]])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ModelRefusedError, match=r"temperature in its generation_config.json"):
        read_generation_defaults(_write(tmp_path, {"temperature": value}), "m")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("top_p", 1.5),
        ("top_k", -2),
        ("min_p", 3),
        ("repetition_penalty", 0),
    ],
)
def test_a_value_that_no_sampling_can_use_is_refused(
    tmp_path: Path, field: str, value: float
) -> None:
    with pytest.raises(ModelRefusedError, match=f"{field} in its .* is out of range"):
        read_generation_defaults(_write(tmp_path, {field: value}), "m")


@pytest.mark.parametrize("value", [-1, 0])
def test_both_ways_to_switch_top_k_off_mean_the_same(tmp_path: Path, value: int) -> None:
    assert read_generation_defaults(_write(tmp_path, {"top_k": value}), "m").top_k == 0


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ModelRefusedError, match=r"generation_config.json"):
        read_generation_defaults(tmp_path, "m")


@pytest.mark.parametrize(
    ("generation", "config_eos", "tokenizer_eos", "expected"),
    [
        ({"eos_token_id": [7, 8]}, 1, 7, {7, 8}),
        ({"eos_token_id": 9}, 1, 2, {9, 2}),
        ({}, 1, 2, {1, 2}),
        ({}, [3, 4], None, {3, 4}),
        ({"eos_token_id": None}, 1, 2, {2}),
        (None, None, None, set()),
    ],
)
def test_answers_end_at_the_tokens_of_the_generation_config_and_the_tokenizer(
    tmp_path: Path,
    generation: dict[str, Any] | None,
    config_eos: Any,
    tokenizer_eos: int | None,
    expected: set[int],
) -> None:
    if generation is not None:
        _write(tmp_path, generation)
    config = SimpleNamespace(eos_token_id=config_eos)
    assert end_token_ids(tmp_path, "m", config, tokenizer_eos) == expected
