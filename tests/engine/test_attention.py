"""The object between transformers' layers and our kernels; whole models are tested elsewhere."""

import pytest
import torch
from torch import nn
from transformers import AttentionInterface

from engine.attention import PagedAttention
from engine.kv_cache import KVCache
from engine.model.geometry import LayerGeometry
from kernels.decoder_layers.layer import StepTables

CPU = torch.device("cpu")
GEOMETRY = LayerGeometry(num_kv_heads=2, key_dim=6, value_dim=4, dtype=torch.float32)
STEP = StepTables(
    block_table=torch.tensor([[2, 0]], dtype=torch.int32),
    cu_seqlens_q=torch.tensor([0, 3], dtype=torch.int32),
    seq_lens=torch.tensor([3], dtype=torch.int32),
    slot_mapping=torch.tensor([4, 5, 0]),
)


def _attention() -> tuple[PagedAttention, list[nn.Module], KVCache]:
    layers: list[nn.Module] = [nn.Identity(), nn.Identity()]
    cache = KVCache([GEOMETRY, GEOMETRY], num_blocks=3, block_size=2, device=CPU)
    return PagedAttention(layers, cache, device=CPU), layers, cache


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, 3, 6, generator=generator)
    return query, query[:, :2] + 1, torch.randn(1, 2, 3, 4, generator=generator)


def _dense(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    repeat = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scale
    )
    return output.transpose(1, 2)


@pytest.mark.parametrize("scaling", [None, 0.3])
def test_a_layer_gets_what_dense_attention_computes(scaling: float | None) -> None:
    attention, layers, _ = _attention()
    attention.step = STEP
    query, key, value = _inputs()
    output, weights = attention(layers[0], query, key, value, None, scaling=scaling)
    assert weights is None
    assert output.shape == (1, 3, 4, 4)
    expected = _dense(query, key, value, 6**-0.5 if scaling is None else scaling)
    torch.testing.assert_close(output, expected)


def test_keys_and_values_go_to_their_own_layer_and_slots() -> None:
    attention, layers, cache = _attention()
    attention.step = STEP
    query, key, value = _inputs()
    attention(layers[1], query, key, value, None)
    assert not cache.keys[0].any()
    stored = cache.keys[1].flatten(0, 1)
    torch.testing.assert_close(stored[[4, 5, 0]], key[0].transpose(0, 1))
    assert not stored[[1, 2, 3]].any()


@pytest.mark.parametrize(
    "option", [{"sliding_window": 1}, {"softcap": 0.1}, {"s_aux": torch.full((4,), 3.0)}]
)
def test_what_a_layer_asks_for_reaches_the_kernel(option: dict[str, object]) -> None:
    attention, layers, _ = _attention()
    attention.step = STEP
    plain, _ = attention(layers[0], *_inputs(), None)
    changed, _ = attention(layers[0], *_inputs(), None, **option)  # type: ignore[arg-type]
    assert not torch.allclose(plain, changed)


def test_calls_outside_of_a_step_or_with_a_mask_are_our_bugs() -> None:
    attention, layers, _ = _attention()
    with pytest.raises(AssertionError, match="outside of a step"):
        attention(layers[0], *_inputs(), None)
    attention.step = STEP
    with pytest.raises(AssertionError, match="mask"):
        attention(layers[0], *_inputs(), torch.zeros(1))


def test_each_object_has_its_own_name_until_it_is_closed() -> None:
    first, _, _ = _attention()
    second, _, _ = _attention()
    interface = AttentionInterface()
    assert interface.get_interface(first.name, None) is first
    assert interface.get_interface(second.name, None) is second
    first.close()
    assert first.name not in interface
    assert second.name in interface
    second.close()
