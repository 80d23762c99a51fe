"""The experts of a mixture on the CPU, one after the other.

Owns: the products of the rows that chose an expert, and their weighted sum. Must not know: how a
row chooses (the model's router does), requests, attention.

transformers keeps all experts of a layer in one tensor and multiplies them in one grouped call.
Here each has projections like any other layer, so what serves those serves experts too: weights in
oneDNN's order, int8 weights, products that do not depend on the batch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from engine.model.decoder import Product, Projection
from kernels.registry import resolve

__all__ = ["Experts", "replace_experts"]

_SILU_GATE = "_default_apply_gate"
_SILU = ("SiLU", "SiLUActivation")


class Experts(nn.Module):
    """Stands for an experts module of transformers, whose weights it takes away."""

    def __init__(self, experts: Any) -> None:
        super().__init__()
        first = "gate_up_proj" if experts.has_gate else "up_proj"
        self._first = list(_projections(experts, first))
        self._second = list(_projections(experts, "down_proj"))
        self._activate = _activation(experts)
        self._norm = experts.post_expert_norm if experts.has_post_expert_norm else None

    @property
    def num_experts(self) -> int:
        return len(self._first)

    def forward(self, x: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """x: [T, width]. top_k_index: [T, K] int64, the experts each row chose. top_k_weights:
        [T, K]. Returns [T, width].
        """
        top_k = top_k_index.shape[1]
        chosen, order = torch.sort(top_k_index.flatten(), stable=True)
        counts = torch.bincount(chosen, minlength=self.num_experts).tolist()
        pieces = torch.split(x[order // top_k], counts)
        made = [self._compute(expert, rows) for expert, rows in enumerate(pieces) if len(rows)]
        outputs = x.new_empty(len(order), x.shape[1])
        if made:
            outputs[order] = torch.cat(made)
        return _weighted_sum(outputs.view(-1, top_k, x.shape[1]), top_k_weights)

    def _compute(self, expert: int, rows: Tensor) -> Tensor:
        output = self._second[expert](self._activate(self._first[expert](rows)))
        return output if self._norm is None else self._norm(output)

    def change_projections(self, change: Callable[[Projection], Product]) -> None:
        """Compute what `change` makes of each projection from now on."""
        for products in (self._first, self._second):
            for expert, product in enumerate(products):
                if isinstance(product, Projection):
                    products[expert] = change(product)


def replace_experts(model: Any) -> int:
    """Put ours in place of the experts of `model`, if it is on the CPU. Returns how many layers
    have them. Its other modules stay as they are.
    """
    num_layers = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_experts(child) and child.down_proj.device.type == "cpu":
                setattr(parent, name, Experts(child))
                num_layers += 1
    return num_layers


def _is_experts(module: Any) -> bool:
    """Whether transformers' `use_experts_implementation` made its class."""
    down = getattr(module, "down_proj", None)
    return hasattr(module, "has_gate") and isinstance(down, nn.Parameter) and down.dim() == 3


def _projections(experts: Any, name: str) -> Iterator[Product]:
    """One projection for each expert; `experts` loses the parameters they are views of."""
    weights, bias = getattr(experts, name), None
    delattr(experts, name)
    if experts.has_bias:
        bias = getattr(experts, f"{name}_bias")
        delattr(experts, f"{name}_bias")
    for expert, weight in enumerate(weights.detach()):
        yield Projection(
            weight.t() if experts.is_transposed else weight,
            None if bias is None else bias.detach()[expert],
        )


def _activation(experts: Any) -> Callable[[Tensor], Tensor]:
    """What lies between an expert's two products."""
    if not experts.has_gate:
        activation: Callable[[Tensor], Tensor] = experts.act_fn
        return activation
    gate: Callable[[Tensor], Tensor] = experts._apply_gate
    if type(experts)._apply_gate.__name__ != _SILU_GATE:
        return gate
    if type(experts.act_fn).__name__ not in _SILU:
        return gate
    silu_mul = resolve("silu_mul", torch.device("cpu"))
    return lambda both: silu_mul(*both.chunk(2, -1))


def _weighted_sum(outputs: Tensor, weights: Tensor) -> Tensor:
    """Rows of outputs [T, K, width] times weights [T, K], added up in the order of K in float32."""
    weights = weights.float().unsqueeze(-1)
    total = outputs[:, 0].float() * weights[:, 0]
    for choice in range(1, outputs.shape[1]):
        total += outputs[:, choice].float() * weights[:, choice]
    return total.to(outputs.dtype)
