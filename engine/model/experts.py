"""The experts of a mixture.

Owns: the products of the rows that chose an expert, and their weighted sum. Must not know: how a
row chooses (the model's router does), requests, attention.

transformers keeps all experts of a layer in one tensor and multiplies them in one grouped call. On
the CPU that goes expert by expert, waking threads for each, in an order of summation that depends
on the batch; an op of ours takes all at once, with weights in panels, in int8 if that is asked for,
and gives a row the same bits in any company. On a GPU torch's grouped call waits for the device and
multiplies group by group, except in bfloat16 on Hopper and its successor (pytorch#186620, #169970):
a step could then not be recorded. Another op of ours takes its place there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from engine.device import compute_capability, computes_bfloat16
from engine.model.panels import W8A8_INT8, is_bfloat16
from kernels.grouped_linear import GroupedLinear
from kernels.panel_linear import PanelLinear
from kernels.panel_linear.int8 import quantize_groups
from kernels.panel_linear.weight import PanelWeights, to_panels
from kernels.registry import available, resolve

__all__ = [
    "Experts",
    "GroupedProduct",
    "PanelProduct",
    "replace_experts",
    "waits_for_the_device",
]

_SILU_GATE = "_default_apply_gate"
_SILU = ("SiLU", "SiLUActivation")
_PANEL_DTYPES = (torch.float32, torch.bfloat16)
# Where torch's own grouped product does not wait: its dtype, and devices by compute capability.
_TORCHS_DTYPE, _TORCHS_GENERATIONS = torch.bfloat16, (9, 10)


class _Product(Protocol):
    """Rows [R, in] of consecutive experts, which end at `ends` [E] int32, to [R, out]."""

    @property
    def num_bytes(self) -> int:
        """Of weights and biases."""
        ...

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class PanelProduct:
    """Weights in panels; bias: [E, out] or None."""

    weights: PanelWeights
    bias: Tensor | None
    multiply: PanelLinear

    @property
    def num_bytes(self) -> int:
        return self.weights.num_bytes + _num_bytes(self.bias)

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor:
        return self.multiply(x, self.weights, ends, self.bias)


@dataclass(frozen=True, slots=True)
class GroupedProduct:
    """Weights [E, out, in] as they were loaded; bias: [E, out] or None."""

    weight: Tensor
    bias: Tensor | None
    multiply: GroupedLinear

    @property
    def num_bytes(self) -> int:
        return self.weight.nbytes + _num_bytes(self.bias)

    def __call__(self, x: Tensor, ends: Tensor) -> Tensor:
        return self.multiply(x, self.weight, ends, self.bias)


class Experts(nn.Module):
    """Stands for an experts module of transformers, whose weights it takes away. The device is
    never waited for, where its op does not.
    """

    def __init__(self, experts: Any, *, quantization: str | None = None) -> None:
        super().__init__()
        weight = experts.down_proj
        self.num_experts = int(weight.shape[0])
        self._numbers = torch.arange(self.num_experts, device=weight.device)
        self._activate = _activation(experts, weight.device)
        has_norm = getattr(experts, "has_post_expert_norm", False)  # transformers 5.17 has none
        self._norm = experts.post_expert_norm if has_norm else None
        first = "gate_up_proj" if experts.has_gate else "up_proj"
        self.products = tuple(
            _product(*_take(experts, name), quantization) for name in (first, "down_proj")
        )

    @property
    def num_bytes(self) -> int:
        """Of weights and biases."""
        return sum(product.num_bytes for product in self.products)

    def forward(self, x: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """x: [T, width]. top_k_index: [T, K] int64, the experts each row chose. top_k_weights:
        [T, K]. Returns [T, width].
        """
        top_k = top_k_index.shape[1]
        chosen, order = torch.sort(top_k_index.flatten(), stable=True)
        ends = torch.searchsorted(chosen, self._numbers, right=True, out_int32=True)
        first, second = self.products
        made = second(self._activate(first(x[order // top_k], ends)), ends)
        if self._norm is not None:
            made = self._norm(made)
        outputs = torch.empty_like(made).index_copy_(0, order, made)
        return _weighted_sum(outputs.view(-1, top_k, x.shape[1]), top_k_weights)


def replace_experts(
    model: Any, *, quantization: str | None = None, is_deterministic: bool = False
) -> list[Experts]:
    """Put ours in place of the experts of `model`, where they are better or needed, and return
    them. Its other modules stay as they are. `quantization` rounds their weights.
    """
    is_needed = quantization is not None or is_deterministic
    made: list[Experts] = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_experts(child) and _is_better(child.down_proj, is_needed=is_needed):
                made.append(Experts(child, quantization=quantization))
                setattr(parent, name, made[-1])
    return made


def _num_bytes(bias: Tensor | None) -> int:
    return 0 if bias is None else bias.nbytes


def _is_better(weight: Tensor, *, is_needed: bool) -> bool:
    if weight.device.type == "cpu":
        # Our products are in float32. Units that multiply bfloat16 may be faster with many rows.
        is_converted = weight.dtype == torch.bfloat16 and computes_bfloat16(weight.device)
        return is_needed or not is_converted
    if weight.device.type != "cuda" or _is_reference("grouped_linear", weight.device):
        return False
    return waits_for_the_device(weight.dtype, compute_capability(weight.device))


def waits_for_the_device(dtype: torch.dtype, capability: tuple[int, int]) -> bool:
    """Whether torch's grouped product does, on a GPU of that compute capability."""
    return dtype != _TORCHS_DTYPE or capability[0] not in _TORCHS_GENERATIONS


def _is_reference(op: str, device: torch.device) -> bool:
    return available(device)[op] == "reference"


def _is_experts(module: Any) -> bool:
    """Whether transformers' `use_experts_implementation` made its class."""
    down = getattr(module, "down_proj", None)
    return hasattr(module, "has_gate") and isinstance(down, nn.Parameter) and down.dim() == 3


def _take(experts: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """Weights [E, out, in] and biases [E, out], which `experts` loses."""
    weights, bias = getattr(experts, name).detach(), None
    delattr(experts, name)
    if experts.has_bias:
        bias = getattr(experts, f"{name}_bias").detach()
        delattr(experts, f"{name}_bias")
    return weights.transpose(1, 2) if experts.is_transposed else weights, bias


def _product(weight: Tensor, bias: Tensor | None, quantization: str | None) -> _Product:
    """Panels where they are multiplied faster, and for int8."""
    device = weight.device
    is_panels = device.type == "cpu" and weight.dtype in _PANEL_DTYPES
    if quantization is not None:
        panels = quantize_groups(weight, rounds_rows=quantization == W8A8_INT8)
    elif is_panels and not _is_reference("panel_linear", device):
        panels = to_panels(weight, torch.bfloat16 if is_bfloat16(weight) else weight.dtype)
    else:
        return GroupedProduct(weight, bias, resolve("grouped_linear", device))
    return PanelProduct(
        panels,
        None if bias is None else bias.float(),
        resolve("panel_linear", device),
    )


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
