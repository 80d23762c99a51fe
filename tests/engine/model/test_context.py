from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import ModelRefusedError
from engine.model.context import resolve_max_model_len

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1000}


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": None, "n_positions": 64}, 64),
        ({}, 32_768),
        ({"max_position_embeddings": 1000, "rope_parameters": YARN}, 4000),
        ({"max_position_embeddings": 8000, "rope_parameters": YARN}, 8000),
        ({"max_position_embeddings": 1000, "rope_parameters": {"full_attention": YARN}}, 4000),
        (
            {
                "max_position_embeddings": 100,
                "rope_parameters": {"rope_type": "linear", "factor": 8.0},
            },
            100,
        ),
    ],
)
def test_the_model_says_how_long_it_attends(fields: dict[str, Any], limit: int) -> None:
    assert resolve_max_model_len(SimpleNamespace(**fields), None, "m") == limit


def test_a_shorter_context_may_be_asked_for_and_a_longer_one_is_refused() -> None:
    config = SimpleNamespace(max_position_embeddings=512)
    assert resolve_max_model_len(config, 100, "m") == 100
    assert resolve_max_model_len(config, 512, "m") == 512
    with pytest.raises(ModelRefusedError, match="use --max-model-len 512 or less"):
        resolve_max_model_len(config, 513, "m")
    with pytest.raises(ModelRefusedError, match="max_model_len is 1"):
        resolve_max_model_len(config, 1, "m")
