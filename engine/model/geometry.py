"""What each attention layer stores for a token.

Owns: measuring it, by sending one token through the loaded model. Must not know: blocks, requests.
Asking the model itself works for every architecture, where reading configs would need to know each
family's words (multi-query, latent attention, layers that differ). It also catches what a config
does not tell: layers that keep state outside of attention, masks, bidirectional attention.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelRefusedError
from engine.model.interface import register_attention, unregister_attention
from engine.model.refusals import refused_if_it_fails

__all__ = ["LayerGeometry", "check_windows", "find_attention_layers"]


@dataclass(frozen=True, slots=True)
class LayerGeometry:
    """What one attention layer keeps for each token: a key and a value for each KV head.

    Key and value may differ in width (in elements). `dtype` is what they are kept in.
    `sliding_window` is in tokens.
    """

    num_kv_heads: int
    key_dim: int
    value_dim: int
    dtype: torch.dtype
    sliding_window: int | None = None

    @property
    def bytes_per_token(self) -> int:
        return self.num_kv_heads * (self.key_dim + self.value_dim) * self.dtype.itemsize


def find_attention_layers(
    model: Any, num_hidden_layers: int, name: str
) -> dict[nn.Module, LayerGeometry]:
    """The attention modules of a loaded model, in the order in which they run.

    Changes the model's attention implementation; the caller sets the one it wants afterwards.
    Raises ModelRefusedError, with `name` for the model, if a layer does not attend through the
    interface, or in a way that paged attention does not compute.
    """
    probe = _Probe(name)
    implementation = register_attention(probe)
    try:
        model.set_attn_implementation(implementation)
        with torch.inference_mode(), refused_if_it_fails(name):
            token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
            model(input_ids=token, position_ids=token, use_cache=False)
    finally:
        unregister_attention(implementation)
    if len(probe.layers) < num_hidden_layers:
        raise ModelRefusedError(
            f"cannot run {name}: only {len(probe.layers)} of its {num_hidden_layers} layers use "
            "transformers' attention interface; recurrent and hybrid models are not supported"
        )
    return probe.layers


def check_windows(
    config: Any, layers: Iterable[LayerGeometry], max_model_len: int, name: str
) -> None:
    """Refuse a model whose config has a sliding window that its layers do not pass on, unless no
    request is long enough to notice. Raises ModelRefusedError.
    """
    window = getattr(config, "sliding_window", None)
    if not window or window >= max_model_len:
        return
    layer_types = getattr(config, "layer_types", None)
    if layer_types and "sliding_attention" not in layer_types:
        return
    if all(layer.sliding_window is None for layer in layers):
        raise ModelRefusedError(
            f"cannot run {name}: its sliding window of {window} tokens does not reach the "
            f"attention interface; use --max-model-len {window} or less"
        )


class _Probe:
    """An attention function that writes down how it is called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.layers: dict[nn.Module, LayerGeometry] = {}

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        sliding_window: int | None = None,
        is_causal: bool | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        kind = type(module).__name__
        if attention_mask is not None:
            self._refuse(f"{kind} needs its own attention mask")
        if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
            self._refuse(f"{kind} also attends to later tokens")
        if module in self.layers:
            self._refuse(f"{kind} attends more than once in a step")
        if key.shape[1] != value.shape[1] or query.shape[-1] != key.shape[-1]:
            self._refuse(f"{kind} has keys, values and queries that do not fit together")
        self.layers[module] = LayerGeometry(
            num_kv_heads=key.shape[1],
            key_dim=key.shape[-1],
            value_dim=value.shape[-1],
            dtype=key.dtype,
            sliding_window=sliding_window,
        )
        return query.new_zeros(1, query.shape[2], query.shape[1], value.shape[-1]), None

    def _refuse(self, reason: str) -> None:
        raise ModelRefusedError(f"cannot run {self._name}: {reason}, which is not supported")
