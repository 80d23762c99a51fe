"""A start from which copying need not be discovered: look-back and induction heads.

Owns: the structured part of the initial weights. Must not know: tasks, the training loop.
A small model from random weights spends most of a short training on finding this circuit (Olsson et
al., "In-context learning and induction heads", 2022). Here a few heads start near it: heads of
layer 0 attend one, two and three tokens back and pass on what stands there; heads of layer 1 look
for a place whose last three tokens equal the present three and propose the token that came next.
Three, because spaces and digits are tokens of their own. All of it is trained on like any weight.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.demo_model.training.network import Network

__all__ = ["start_with_copy_heads"]

_CONSTANT = 0.3  # what each embedding holds in dimension 0; tied logits all shift by the same
_EMBEDDING_SCALE = 0.12
_FREQUENCY_SHARES = (0.45, 0.30, 0.25)
_BACK = (1, 2, 3)
_PASSED = 16  # dimensions that a look-back head passes on
_PASSED_SCALE = 0.3
_PROPOSAL_SCALE = 1.0
_QUIET = 0.2  # other writers start this much quieter, so that they do not drown the circuit
_SLOW_PAIRS_FROM = 6
# Balance of the present token, read directly, and of passed-on ones, which are louder.
_DIRECT_GAIN = 3.0


@dataclass(slots=True, frozen=True)
class _Space:
    """Dimensions of the residual stream: tokens first, then one part per look-back head."""

    read: Tensor  # [_PASSED, width] of a token's embedding
    writes: tuple[Tensor, ...]  # [_PASSED, width] each: where a head puts what it read
    own: range


def _orthonormal(rows: int, columns: int, dimensions: range) -> Tensor:
    """Orthonormal rows [rows, columns] that are zero outside `dimensions`."""
    basis, _ = torch.linalg.qr(torch.randn(len(dimensions), rows))
    placed = torch.zeros(rows, columns)
    placed[:, dimensions.start : dimensions.stop] = basis.mT
    return placed


def _space(width: int) -> _Space:
    own = range(1, width - _PASSED * len(_BACK))
    starts = [own.stop + _PASSED * number for number in range(len(_BACK))]
    writes = tuple(_orthonormal(_PASSED, width, range(at, at + _PASSED)) for at in starts)
    return _Space(_orthonormal(_PASSED, width, own), writes, own)


@torch.no_grad()
def start_with_copy_heads(network: Network, *, num_induction_heads: int = 3) -> None:
    """Overwrites some heads of the first two layers of a fresh network."""
    shape = network.shape
    space = _space(shape.hidden_size)
    embedding = network.weight("embed_tokens")
    embedding.mul_(_EMBEDDING_SCALE / embedding.std())
    embedding[:, space.own.stop :] *= 0.05
    embedding[:, 0] = _CONSTANT
    for layer in range(shape.num_layers):
        network.weight(f"layers.{layer}.self_attn.o_proj").mul_(_QUIET)
        network.weight(f"layers.{layer}.mlp.down_proj").mul_(_QUIET)
    for head, distance in enumerate(_BACK):
        _look_back(network, head, distance, space)
    for head in range(num_induction_heads):
        _look_up(network, head, space)


def _rows(network: Network, head: int) -> slice:
    return slice(head * network.shape.head_dim, (head + 1) * network.shape.head_dim)


def _look_back(network: Network, head: int, distance: int, space: _Space) -> None:
    """Head of layer 0 that attends `distance` tokens back, whatever the tokens are.

    Queries and keys depend on the constant dimension alone; a phase between them puts the peak of
    the rotary score at the distance.
    """
    shape, rows = network.shape, _rows(network, head)
    half = shape.head_dim // 2
    query, key = torch.zeros(shape.head_dim), torch.zeros(shape.head_dim)
    for pair, share in enumerate(_FREQUENCY_SHARES):
        phase = torch.tensor(shape.rope_theta ** (-pair / half) * distance)
        query[pair] = share**0.5
        key[pair], key[pair + half] = share**0.5 * phase.cos(), share**0.5 * phase.sin()
    for name, vector in (("q_proj", query), ("k_proj", key)):
        weight = network.weight(f"layers.0.self_attn.{name}")
        weight[rows] *= 0.02
        weight[rows, 0] = vector
    value = network.weight("layers.0.self_attn.v_proj")[rows]
    value[:_PASSED] = space.read
    output = network.weight("layers.0.self_attn.o_proj")[:, rows]
    output[:, :_PASSED] = space.writes[head].mT * _PASSED_SCALE


def _look_up(network: Network, head: int, space: _Space) -> None:
    """Head of layer 1 that attends where the tokens before equal the present ones.

    The present token is compared with what stood one back, the one before with what stood two back
    and so on. Only slowly turning rotary pairs compare, so that distance matters little.
    """
    shape, rows = network.shape, _rows(network, head)
    half = shape.head_dim // 2
    slow = [*range(_SLOW_PAIRS_FROM, half), *range(half + _SLOW_PAIRS_FROM, shape.head_dim)]
    share = len(slow) // len(_BACK)
    query = network.weight("layers.1.self_attn.q_proj")[rows]
    key = network.weight("layers.1.self_attn.k_proj")[rows]
    query *= 0.05
    key *= 0.05
    present = (space.read * _DIRECT_GAIN, *space.writes[:-1])
    parts = torch.randperm(_PASSED)[:share]
    for number, (now, then) in enumerate(zip(present, space.writes, strict=True)):
        places = slow[number * share : (number + 1) * share]
        query[places] = now[parts]
        key[places] = then[parts]
    value = _orthonormal(shape.head_dim, shape.hidden_size, space.own)
    network.weight("layers.1.self_attn.v_proj")[rows] = value
    network.weight("layers.1.self_attn.o_proj")[:, rows] = value.mT * _PROPOSAL_SCALE
