"""RMS norm in Triton: one program for one vector, which it reads once.

Owns: the kernel and its launch. Must not know: layers, models.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["rms_norm"]


@triton.jit
def _rms_norm_kernel(
    x_ptr, weight_ptr, residual_ptr, output_ptr,
    stride_x_outer, stride_x_inner, num_inner, width, eps,
    BLOCK: tl.constexpr, HAS_RESIDUAL: tl.constexpr, IS_WIDE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    is_there = columns < width
    start = row // num_inner * stride_x_outer + row % num_inner * stride_x_inner
    x = tl.load(x_ptr + start + columns, mask=is_there, other=0.0)  # [D]
    if HAS_RESIDUAL:
        residual = tl.load(residual_ptr + row * width + columns, mask=is_there, other=0.0)
        x = (x.to(tl.float32) + residual.to(tl.float32)).to(x.dtype)
        tl.store(residual_ptr + row * width + columns, x, mask=is_there)
    wide = x.to(tl.float32)
    scale = tl.rsqrt(tl.sum(wide * wide, 0) / width + eps)
    weight = tl.load(weight_ptr + columns, mask=is_there, other=0.0)
    normalised = wide * scale
    if not IS_WIDE:  # rounded before it is multiplied, as the contract says
        normalised = normalised.to(x.dtype).to(tl.float32)
    result = (normalised * weight.to(tl.float32)).to(x.dtype)
    tl.store(output_ptr + row * width + columns, result, mask=is_there)


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> Tensor:
    """See `kernels.rms_norm.RMSNorm`. Raises ValueError if the residual is not contiguous."""
    if residual is not None and not residual.is_contiguous():
        raise ValueError("rms_norm: the residual is changed in place and has to be contiguous")
    output = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    width = x.shape[-1]
    rows = x if x.dim() == 3 else x.reshape(-1, 1, width)
    if rows.stride(-1) != 1:
        rows = rows.contiguous()
    num_rows = rows.shape[0] * rows.shape[1]
    if num_rows:
        block = triton.next_power_of_2(width)
        _rms_norm_kernel[(num_rows,)](
            rows, weight, residual, output,
            rows.stride(0), rows.stride(1), rows.shape[1], width, eps,
            BLOCK=block, HAS_RESIDUAL=residual is not None,
            IS_WIDE=weight.dtype == torch.float32, num_warps=max(1, min(8, block // 512)),
        )  # fmt: skip
    return output
