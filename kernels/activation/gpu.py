"""Gated activations in Triton: one program for a piece of one row.

Owns: the kernel and its launches. Must not know: layers, models.
"""

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["gelu_mul", "silu_mul"]

_BLOCK = 1024
_SILU, _GELU, _GELU_TANH = 0, 1, 2


@triton.jit
def _gated_activation_kernel(
    gate_ptr, up_ptr, output_ptr, stride_gate_row, stride_up_row, width,
    KIND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = columns < width
    gate = tl.load(gate_ptr + row * stride_gate_row + columns, mask=is_there, other=0.0)
    up = tl.load(up_ptr + row * stride_up_row + columns, mask=is_there, other=0.0)
    x = gate.to(tl.float32)
    if KIND == 0:
        activated = x * tl.sigmoid(x)
    elif KIND == 1:
        activated = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    else:  # tanh(y) = 2 sigmoid(2 y) - 1
        activated = x * tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))
    result = (activated * up.to(tl.float32)).to(gate.dtype)
    tl.store(output_ptr + row * width + columns, result, mask=is_there)


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """See `kernels.activation.SiluMul`."""
    return _launch(gate, up, _SILU)


def gelu_mul(gate: Tensor, up: Tensor, *, approximate: Literal["none", "tanh"] = "tanh") -> Tensor:
    """See `kernels.activation.GeluMul`."""
    return _launch(gate, up, _GELU_TANH if approximate == "tanh" else _GELU)


def _launch(gate: Tensor, up: Tensor, kind: int) -> Tensor:
    width = gate.shape[-1]
    output = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    gate, up = gate.reshape(-1, width), up.reshape(-1, width)
    if gate.stride(-1) != 1 or up.stride(-1) != 1:
        gate, up = gate.contiguous(), up.contiguous()
    if gate.shape[0]:
        block = min(_BLOCK, triton.next_power_of_2(width))
        _gated_activation_kernel[(gate.shape[0], triton.cdiv(width, block))](
            gate, up, output, gate.stride(0), up.stride(0), width,
            KIND=kind, BLOCK=block, num_warps=4,
        )  # fmt: skip
    return output
