"""Faster modules in place of transformers' own, where they compute the same.

Owns: which classes are replaced by what. Must not know: what the replacements compute. A class is
known by its full name, so a model that merely looks alike keeps its own modules; it still runs,
slower, and the log says so. There is one level today: the whole decoder, all its layers at once.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.model.decoder import FusedDecoder, FusedDecoderLayer
from engine.model.layer_parts import GatedMlp, LayerParts, Product, Projection, SparseMlp
from engine.model.panels import PanelLayer, merge_layers
from kernels.decoder_layers.layer import Norm

__all__ = ["replace_decoder"]

_log = logging.getLogger(__name__)


def replace_decoder(model: Any, device: torch.device) -> bool:
    """Replace the decoder of `model` if a rule knows it; returns whether it did.

    The attention modules stay the objects that they were. Weights move into merged ones layer by
    layer, so at no time is more than one layer in memory twice.
    """
    name = model.base_model_prefix
    decoder = getattr(model, name)
    read = _RULES.get(f"{type(decoder).__module__}.{type(decoder).__qualname__}")
    if read is None or model.config.hidden_act != "silu":
        _log.info("%s runs with transformers' own layers, slower", type(model).__name__)
        return False
    fused = FusedDecoder(
        embed=decoder.embed_tokens,
        rotate=decoder.rotary_emb,
        layers=[FusedDecoderLayer(read(layer), device) for layer in decoder.layers],
        norm=_norm(decoder.norm),
        device=device,
    )
    setattr(model, name, fused)
    return True


def _llama(layer: Any) -> LayerParts:
    attention = layer.self_attn
    parts = LayerParts(
        attention=attention,
        **_sizes(attention),
        qkv=_merged((attention.q_proj, attention.k_proj, attention.v_proj)),
        output=_projection(attention.o_proj),
        mlp=_mlp(layer.mlp),
        input_norm=_norm(layer.input_layernorm),
        post_attention_norm=_norm(layer.post_attention_layernorm),
        query_norm=_norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
    )
    del attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
    return parts


def _mlp(mlp: Any) -> GatedMlp | SparseMlp:
    """A mixture has layers of both kinds."""
    if not hasattr(mlp, "gate_proj"):
        return SparseMlp(mlp)
    parts = GatedMlp(_merged((mlp.gate_proj, mlp.up_proj)), _projection(mlp.down_proj))
    del mlp.gate_proj, mlp.up_proj, mlp.down_proj
    return parts


def _phi3(layer: Any) -> LayerParts:
    attention, mlp = layer.self_attn, layer.mlp
    parts = LayerParts(
        attention=attention,
        **_sizes(attention),
        qkv=_projection(attention.qkv_proj),
        output=_projection(attention.o_proj),
        mlp=GatedMlp(_projection(mlp.gate_up_proj), _projection(mlp.down_proj)),
        input_norm=_norm(layer.input_layernorm),
        post_attention_norm=_norm(layer.post_attention_layernorm),
    )
    del attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj
    return parts


_PREFIX = "transformers.models"
_RULES: dict[str, Callable[[Any], LayerParts]] = {
    f"{_PREFIX}.llama.modeling_llama.LlamaModel": _llama,
    f"{_PREFIX}.mistral.modeling_mistral.MistralModel": _llama,
    f"{_PREFIX}.mixtral.modeling_mixtral.MixtralModel": _llama,
    f"{_PREFIX}.phi3.modeling_phi3.Phi3Model": _phi3,
    f"{_PREFIX}.qwen2.modeling_qwen2.Qwen2Model": _llama,
    f"{_PREFIX}.qwen2_moe.modeling_qwen2_moe.Qwen2MoeModel": _llama,
    f"{_PREFIX}.qwen3.modeling_qwen3.Qwen3Model": _llama,
    f"{_PREFIX}.qwen3_moe.modeling_qwen3_moe.Qwen3MoeModel": _llama,
}
# These read the window from the config; the others keep it in the module, if they have one.
_WINDOW_IN_CONFIG = ("mistral", "mixtral", "phi3")


def _sizes(attention: Any) -> dict[str, Any]:
    config = attention.config
    if config.model_type in _WINDOW_IN_CONFIG:
        window = getattr(config, "sliding_window", None)
    else:
        window = getattr(attention, "sliding_window", None)
    return {
        "num_heads": config.num_attention_heads,
        "num_kv_heads": config.num_key_value_heads,
        "head_dim": attention.head_dim,
        "sliding_window": window,
    }


def _norm(module: Any) -> Norm:
    return Norm(module.weight, module.variance_epsilon)


def _projection(module: nn.Linear | PanelLayer) -> Product:
    if isinstance(module, PanelLayer):
        return module
    return Projection(module.weight, module.bias)


def _merged(modules: Sequence[nn.Linear | PanelLayer]) -> Product:
    """Several products of one input as one; a missing bias counts as zero."""
    in_panels = [module for module in modules if isinstance(module, PanelLayer)]
    if in_panels:
        return merge_layers(in_panels)
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    bias: Tensor | None = None
    if any(linear.bias is not None for linear in linears):
        bias = torch.cat(
            [
                linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
                for linear in linears
            ]
        )
    return Projection(torch.cat([linear.weight for linear in linears]), bias)
