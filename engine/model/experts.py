"""The experts of a mixture: one after the other on the CPU, together on a GPU.

Owns: the products of the rows that chose an expert, and their weighted sum. Must not know: how a
row chooses (the model's router does), requests, attention.

transformers keeps all experts of a layer in one tensor and multiplies them in one grouped call. On
the CPU each has projections like any other layer here, so what serves those serves experts too:
weights in oneDNN's order, int8 weights, products that do not depend on the batch. On a GPU torch's
grouped call waits for the device and multiplies group by group, except in bfloat16 on Hopper and
its successor (pytorch#186620, #169970): a step could then not be recorded. An op of ours takes its
place there.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from engine.device import compute_capability
from engine.model.decoder import Product, Projection
from kernels.registry import available, resolve

__all__ = ["Experts", "GroupedExperts", "replace_experts", "waits_for_the_device"]

_SILU_GATE = "_default_apply_gate"
_SILU = ("SiLU", "SiLUActivation")
# Where torch's own grouped product does not wait: its dtype, and devices by compute capability.
_TORCHS_DTYPE, _TORCHS_GENERATIONS = torch.bfloat16, (9, 10)


class Experts(nn.Module):
    """Stands for an experts module of transformers, whose weights it takes away."""

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self._first = list(_projections(*_take(experts, _first_name(experts))))
        self._second = list(_projections(*_take(experts, "down_proj")))
        self._activate = _activation(experts, torch.device("cpu"))
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


class GroupedExperts(nn.Module):
    """Stands for an experts module of transformers on a GPU; `device` is never waited for."""

    def __init__(self, experts: Any, device: torch.device) -> None:
        super().__init__()
        self._first = _take(experts, _first_name(experts))
        self._second = _take(experts, "down_proj")
        self._activate = _activation(experts, device)
        self._norm = experts.post_expert_norm if experts.has_post_expert_norm else None
        self._grouped_linear = resolve("grouped_linear", device)
        num_experts = self._first[0].shape[0]
        self._numbers = torch.arange(num_experts, device=device)

    def forward(self, x: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """As `Experts.forward`."""
        top_k = top_k_index.shape[1]
        chosen, order = torch.sort(top_k_index.flatten(), stable=True)
        ends = torch.searchsorted(chosen, self._numbers, right=True, out_int32=True)
        (first, first_bias), (second, second_bias) = self._first, self._second
        inner = self._activate(self._grouped_linear(x[order // top_k], first, ends, first_bias))
        made = self._grouped_linear(inner, second, ends, second_bias)
        if self._norm is not None:
            made = self._norm(made)
        outputs = torch.empty_like(made).index_copy_(0, order, made)
        return _weighted_sum(outputs.view(-1, top_k, x.shape[1]), top_k_weights)


def replace_experts(model: Any) -> int:
    """Put ours in place of the experts of `model`, where they are better. Returns how many layers
    have them. Its other modules stay as they are.
    """
    num_layers = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            made = _replacement(child) if _is_experts(child) else None
            if made is not None:
                setattr(parent, name, made)
                num_layers += 1
    return num_layers


def _replacement(experts: Any) -> nn.Module | None:
    weight = experts.down_proj
    if weight.device.type == "cpu":
        return Experts(experts)
    if weight.device.type != "cuda" or available(weight.device)["grouped_linear"] == "reference":
        return None
    if waits_for_the_device(weight.dtype, compute_capability(weight.device)):
        return GroupedExperts(experts, weight.device)
    return None


def waits_for_the_device(dtype: torch.dtype, capability: tuple[int, int]) -> bool:
    """Whether torch's grouped product does, on a GPU of that compute capability."""
    return dtype != _TORCHS_DTYPE or capability[0] not in _TORCHS_GENERATIONS


def _is_experts(module: Any) -> bool:
    """Whether transformers' `use_experts_implementation` made its class."""
    down = getattr(module, "down_proj", None)
    return hasattr(module, "has_gate") and isinstance(down, nn.Parameter) and down.dim() == 3


def _first_name(experts: Any) -> str:
    return "gate_up_proj" if experts.has_gate else "up_proj"


def _take(experts: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Weights [E, out, in] and biases [E, out], which `experts` loses."""
    weights, bias = getattr(experts, name).detach(), None
    delattr(experts, name)
    if experts.has_bias:
        bias = getattr(experts, f"{name}_bias").detach()
        delattr(experts, f"{name}_bias")
    return weights.transpose(1, 2) if experts.is_transposed else weights, bias


def _projections(weights: Tensor, bias: Tensor | None) -> Iterator[Product]:
    """One projection for each expert, a view of all."""
    for expert, weight in enumerate(weights):
        yield Projection(weight, None if bias is None else bias[expert])


def _activation(experts: Any, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What lies between an expert's two products."""
    if not experts.has_gate:
        activation: Callable[[Tensor], Tensor] = experts.act_fn
        return activation
    gate: Callable[[Tensor], Tensor] = experts._apply_gate
    if type(experts)._apply_gate.__name__ != _SILU_GATE:
        return gate
    if type(experts.act_fn).__name__ not in _SILU:
        return gate
    silu_mul = resolve("silu_mul", device)
    return lambda both: silu_mul(*both.chunk(2, -1))


def _weighted_sum(outputs: Tensor, weights: Tensor) -> Tensor:
    """Rows of outputs [T, K, width] times weights [T, K], added up in the order of K in float32."""
    weights = weights.float().unsqueeze(-1)
    total = outputs[:, 0].float() * weights[:, 0]
    for choice in range(1, outputs.shape[1]):
        total += outputs[:, choice].float() * weights[:, choice]
    return total.to(outputs.dtype)
