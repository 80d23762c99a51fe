from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AttentionInterface

from engine.errors import ModelRefusedError
from engine.model.geometry import LayerGeometry, check_windows, find_attention_layers
from tests.engine.tiny_engine import load_tiny
from tests.engine.tiny_models import FAMILIES


@pytest.mark.parametrize(
    ("family", "shape", "windows"),
    [
        ("llama", (2, 8, 8), [None, None]),
        ("mistral", (2, 8, 8), [12, 12]),
        ("gemma3", (2, 8, 8), [12, None]),
        ("deepseek_v3", (4, 12, 6), [None, None]),
        ("gpt2", (4, 8, 8), [None, None]),
    ],
)
def test_layers_are_measured_in_the_order_they_run(
    family: str, shape: tuple[int, int, int], windows: list[int | None], checkpoints: Path
) -> None:
    layers = list(load_tiny(family, checkpoints).layers.values())
    assert [(x.num_kv_heads, x.key_dim, x.value_dim) for x in layers] == [shape] * 2
    assert [x.sliding_window for x in layers] == windows
    assert layers[0].bytes_per_token == shape[0] * (shape[1] + shape[2]) * 4


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_half_precision_models_store_half_precision(family: str, checkpoints: Path) -> None:
    layers = load_tiny(family, checkpoints, "bfloat16").layers.values()
    assert {layer.dtype for layer in layers} == {torch.bfloat16}


class _Toy(nn.Module):
    """A model of attention calls only; `calls` are keyword arguments of each."""

    device = torch.device("cpu")

    def __init__(self, calls: list[dict[str, Any]], modules: list[nn.Module] | None = None) -> None:
        super().__init__()
        self.calls = calls
        self.attentions = modules or [nn.Identity() for _ in calls]
        self.implementation = ""

    def set_attn_implementation(self, name: str) -> None:
        self.implementation = name

    def forward(self, input_ids: torch.Tensor, position_ids: torch.Tensor, use_cache: bool) -> None:
        attend = AttentionInterface().get_interface(self.implementation, None)
        for module, call in zip(self.attentions, self.calls, strict=True):
            tensor = torch.zeros(1, 2, input_ids.shape[1], 4)
            arguments = {"key": tensor, "value": tensor, "attention_mask": None} | call
            attend(module, tensor, **arguments)


def test_layers_that_never_attend_are_refused() -> None:
    with pytest.raises(ModelRefusedError, match="cannot run toy: only 1 of its 3 layers"):
        find_attention_layers(_Toy([{}]), 3, "toy")


_SHARED = nn.Identity()


@pytest.mark.parametrize(
    ("calls", "modules", "reason"),
    [
        ([{"attention_mask": torch.ones(1, 1, 1, 1)}], None, "needs its own attention mask"),
        ([{"is_causal": False}], None, "also attends to later tokens"),
        ([{}, {}], [_SHARED, _SHARED], "attends more than once"),
        ([{"key": torch.zeros(1, 2, 1, 3)}], None, "do not fit together"),
        ([{"value": torch.zeros(1, 1, 1, 4)}], None, "do not fit together"),
        ([{"query": None}], None, "its forward pass fails"),
    ],
)
def test_what_paged_attention_does_not_compute_is_refused(
    calls: list[dict[str, Any]], modules: list[nn.Module] | None, reason: str
) -> None:
    with pytest.raises(ModelRefusedError, match=reason):
        find_attention_layers(_Toy(calls, modules), len(calls), "toy")


def test_probing_leaves_no_name_behind() -> None:
    before = set(AttentionInterface().valid_keys())
    with pytest.raises(ModelRefusedError):
        find_attention_layers(_Toy([{}]), 2, "toy")
    find_attention_layers(_Toy([{}]), 1, "toy")
    assert set(AttentionInterface().valid_keys()) == before


def _layer(window: int | None) -> LayerGeometry:
    return LayerGeometry(1, 4, 4, torch.float32, window)


def test_a_window_that_no_layer_passes_on_is_refused() -> None:
    config = SimpleNamespace(sliding_window=100)
    with pytest.raises(ModelRefusedError, match=r"sliding window of 100 .* --max-model-len 100 or"):
        check_windows(config, [_layer(None)], 101, "toy")


@pytest.mark.parametrize(
    ("fields", "windows", "max_model_len"),
    [
        ({"sliding_window": 100}, [None, 100], 500),
        ({"sliding_window": 100}, [None], 100),
        ({"sliding_window": 100, "layer_types": ["full_attention"]}, [None], 500),
        ({"sliding_window": None}, [None], 500),
        ({}, [None], 500),
    ],
)
def test_windows_that_are_passed_on_or_not_used_are_fine(
    fields: dict[str, Any], windows: list[int | None], max_model_len: int
) -> None:
    check_windows(
        SimpleNamespace(**fields), [_layer(window) for window in windows], max_model_len, "toy"
    )
