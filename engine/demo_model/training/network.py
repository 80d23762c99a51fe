"""The Qwen3 architecture over one flat run of tokens, written for training speed.

Owns: parameters under transformers' names, forward and loss, export as a Qwen3 checkpoint.
Must not know: tasks, the training loop. Linear layers see [tokens, width]; only attention is cut
into groups of equal length. The same weights loaded by transformers give the same logits (tested).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Network", "Shape"]

_EPSILON = 1e-6
# With unit norms a head of 32 can give one of 200 tokens little more than the others together;
# copying needs sharper attention from the start.
_ATTENTION_GAIN = 1.8


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are those of the shipped weights."""

    vocab_size: int = 2048
    hidden_size: int = 160
    num_layers: int = 6
    num_heads: int = 4
    num_kv_heads: int = 4
    head_dim: int = 48
    intermediate_size: int = 320
    rope_theta: float = 1_000_000.0
    max_positions: int = 2048

    def as_dict(self) -> dict[str, int | float]:
        """For checkpoints."""
        return asdict(self)


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + _EPSILON).to(x.dtype) * weight


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def _before_attention(
    x: Tensor, norm: Tensor, query: Tensor, key: Tensor, value: Tensor, query_norm: Tensor,
    key_norm: Tensor, cos: Tensor, sin: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    head_dim = query_norm.shape[0]
    heads = [part.shape[0] // head_dim for part in (query, key, value)]
    mixed = functional.linear(_rms_norm(x, norm), torch.cat((query, key, value)))
    q, k, v = torch.split(mixed.view(x.shape[0], -1, head_dim), heads, 1)
    return (
        _rotate(_rms_norm(q, query_norm), cos, sin),
        _rotate(_rms_norm(k, key_norm), cos, sin),
        v,
    )


def _after_attention(
    x: Tensor, mixed: Tensor, output: Tensor, norm: Tensor, gate: Tensor, up: Tensor, down: Tensor
) -> Tensor:
    x = x + functional.linear(mixed, output)
    both = functional.linear(_rms_norm(x, norm), torch.cat((gate, up)))
    gated, plain = both.chunk(2, -1)
    return x + functional.linear(functional.silu(gated) * plain, down)


def _token_losses(x: Tensor, norm: Tensor, embedding: Tensor, targets: Tensor) -> Tensor:
    logits = functional.linear(_rms_norm(x, norm), embedding)
    return functional.cross_entropy(logits.float(), targets, reduction="none")


class Network(nn.Module):
    """A Qwen3 decoder with tied embeddings; `compiled` fuses what lies between attentions."""

    def __init__(self, shape: Shape, *, compiled: bool = False) -> None:
        super().__init__()
        self.shape = shape
        width, heads = shape.hidden_size, shape.num_heads * shape.head_dim
        kv_heads, inner = shape.num_kv_heads * shape.head_dim, shape.intermediate_size
        self.weights = nn.ParameterDict()
        self._add("embed_tokens", torch.randn(shape.vocab_size, width) * 0.03)
        for index in range(shape.num_layers):
            name = f"layers.{index}."
            for part, rows, columns, scale in (
                ("self_attn.q_proj", heads, width, 1.0),
                ("self_attn.k_proj", kv_heads, width, 1.0),
                ("self_attn.v_proj", kv_heads, width, 1.0),
                ("self_attn.o_proj", width, heads, 0.1),
                ("mlp.gate_proj", inner, width, 1.0),
                ("mlp.up_proj", inner, width, 1.0),
                ("mlp.down_proj", width, inner, 0.1),
            ):
                self._add(name + part, torch.randn(rows, columns) * scale * columns**-0.5)
            for part, size, gain in (
                ("input_layernorm", width, 1.0),
                ("post_attention_layernorm", width, 1.0),
                ("self_attn.q_norm", shape.head_dim, _ATTENTION_GAIN),
                ("self_attn.k_norm", shape.head_dim, _ATTENTION_GAIN),
            ):
                self._add(name + part, torch.full((size,), gain))
        self._add("norm", torch.ones(width))
        self._before = torch.compile(_before_attention) if compiled else _before_attention
        self._after = torch.compile(_after_attention) if compiled else _after_attention
        self._losses = torch.compile(_token_losses) if compiled else _token_losses

    def _add(self, name: str, value: Tensor) -> None:
        self.weights[name.replace(".", "/")] = nn.Parameter(value)

    def weight(self, name: str) -> Tensor:
        """A parameter by transformers' name without `model.` and `.weight`."""
        found: Tensor = self.weights[name.replace(".", "/")]
        return found

    def hidden(
        self, tokens: Tensor, positions: Tensor, groups: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Last hidden states [N, width] of flat int64 `tokens` [N].

        `groups` lists (sequences, length) in order; they cover all N tokens.
        """
        shape = self.shape
        exponents = torch.arange(0, shape.head_dim, 2, device=tokens.device) / shape.head_dim
        angles = positions[:, None].float() * shape.rope_theta ** -exponents.float()
        angles = torch.cat((angles, angles), -1)[:, None, :]
        x = functional.embedding(tokens, self.weight("embed_tokens"))
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for index in range(shape.num_layers):
            part = self._layer(index)
            q, k, v = self._before(
                x, part("input_layernorm"), part("self_attn.q_proj"), part("self_attn.k_proj"),
                part("self_attn.v_proj"), part("self_attn.q_norm"), part("self_attn.k_norm"),
                cos, sin,
            )  # fmt: skip
            x = self._after(
                x, self._attend(q, k, v, groups), part("self_attn.o_proj"),
                part("post_attention_layernorm"), part("mlp.gate_proj"), part("mlp.up_proj"),
                part("mlp.down_proj"),
            )  # fmt: skip
        return x

    def _layer(self, index: int) -> Callable[[str], Tensor]:
        return lambda name: self.weight(f"layers.{index}.{name}")

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, groups: Sequence[tuple[int, int]]
    ) -> Tensor:
        mixed, offset = [], 0
        for rows, length in groups:
            end = offset + rows * length
            q, k, v = (
                part[offset:end].view(rows, length, -1, self.shape.head_dim).transpose(1, 2)
                for part in (query, key, value)
            )
            grouped = self.shape.num_heads != self.shape.num_kv_heads
            out = functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, enable_gqa=grouped
            )
            mixed.append(out.transpose(1, 2).reshape(rows * length, -1))
            offset = end
        return torch.cat(mixed)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [M, vocab] of hidden states [M, width]."""
        normed = _rms_norm(hidden, self.weight("norm"))
        return functional.linear(normed, self.weight("embed_tokens"))

    def losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy [M] in nats of hidden states [M, width] against int64 `targets` [M]."""
        return self._losses(hidden, self.weight("norm"), self.weight("embed_tokens"), targets)
