from typing import Any

import pytest
import torch
import transformers

from engine.model.rope import freeze_rope

COMMON = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.0, 1.0, 1.0],
    "long_factor": [2.0, 3.0, 4.0, 5.0],
    "factor": 4.0,
    "original_max_position_embeddings": 32,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


def _rotary(rope: dict[str, Any], max_positions: int) -> Any:
    config = transformers.LlamaConfig(
        **COMMON, max_position_embeddings=max_positions, rope_parameters=dict(rope)
    )
    return transformers.AutoModelForCausalLM.from_config(config).model


def _angles(model: Any, *positions: int) -> torch.Tensor:
    """The cosines of the first of the positions, in a pass with all of them."""
    cosines, _ = model.rotary_emb(torch.zeros(1), torch.tensor([positions]))
    return cosines[0, 0]


@pytest.mark.parametrize("max_model_len", [32, 128])
def test_a_long_neighbour_changes_nothing_once_frozen(max_model_len: int) -> None:
    model = _rotary(LONGROPE, 128)
    assert not torch.equal(_angles(model, 5), _angles(model, 5, 100)), "nothing to freeze"
    freeze_rope(model, max_model_len)
    assert torch.equal(_angles(model, 5), _angles(model, 5, 100))


def test_the_longest_possible_request_decides_the_factors() -> None:
    short, long = _angles(_rotary(LONGROPE, 128), 5), _angles(_rotary(LONGROPE, 128), 5, 100)
    for max_model_len, expected in ((32, short), (33, long), (128, long)):
        model = _rotary(LONGROPE, 128)
        freeze_rope(model, max_model_len)
        assert torch.equal(_angles(model, 5), expected), max_model_len


def test_dynamic_scaling_is_that_of_the_longest_possible_request() -> None:
    model = _rotary(DYNAMIC, 32)
    expected = _angles(_rotary(DYNAMIC, 32), 5, 127)
    freeze_rope(model, 128)
    assert torch.equal(_angles(model, 5), expected)
    assert torch.equal(_angles(model, 5, 90), expected)


def test_embeddings_by_layer_type_are_frozen_each() -> None:
    config = transformers.Gemma3TextConfig(
        **COMMON,
        head_dim=8,
        max_position_embeddings=128,
        layer_types=["full_attention"],
        rope_parameters={
            "full_attention": dict(LONGROPE),
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    )
    model = transformers.AutoModelForCausalLM.from_config(config).model
    freeze_rope(model, 128)

    def angles(*positions: int) -> torch.Tensor:
        return model.rotary_emb(torch.zeros(1), torch.tensor([positions]), "full_attention")[0][
            0, 0
        ]

    assert torch.equal(angles(5), angles(5, 100))


def test_ordinary_embeddings_are_left_alone() -> None:
    model = _rotary({"rope_type": "default", "rope_theta": 10000.0}, 128)
    before = _angles(model, 5)
    freeze_rope(model, 128)
    assert torch.equal(_angles(model, 5), before)
