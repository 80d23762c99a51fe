"""Replaced decoders: which models get one, and that weights are moved, not copied."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from engine.model.decoder import FusedDecoder
from engine.model.replace import replace_decoder
from tests.engine.tiny_engine import CPU, load_tiny
from tests.engine.tiny_models import FAMILIES, REPLACED


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_known_decoders_are_replaced_and_others_stay(family: str, checkpoints: Path) -> None:
    loaded = load_tiny(family, checkpoints, is_replaced=False)
    before = loaded.module.base_model
    assert replace_decoder(loaded.module, CPU) == (family in REPLACED)
    after = getattr(loaded.module, loaded.module.base_model_prefix)
    assert isinstance(after, FusedDecoder) == (family in REPLACED)
    assert (after is before) == (family not in REPLACED)


def test_another_activation_keeps_the_models_own_layers(
    checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_tiny("llama", checkpoints, is_replaced=False)
    loaded.module.config.hidden_act = "gelu"
    with caplog.at_level("INFO"):
        assert not replace_decoder(loaded.module, CPU)
    assert "LlamaForCausalLM runs with transformers' own layers" in caplog.text


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_merged_weights_take_the_place_of_the_parts(family: str, checkpoints: Path) -> None:
    loaded = load_tiny(family, checkpoints, is_replaced=False)
    layer = loaded.module.model.layers[0]
    parts = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
    merged = torch.cat([part.weight for part in parts])
    gone = [weakref.ref(part.weight) for part in (*parts, layer.mlp.gate_proj)]
    del layer, parts
    replace_decoder(loaded.module, CPU)
    gc.collect()
    qkv = loaded.module.model.layers[0]._parts.qkv
    assert torch.equal(qkv.weight, merged)
    assert (qkv.bias is None) == (family == "llama")
    assert not any(reference() is not None for reference in gone)
