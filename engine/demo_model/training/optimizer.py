"""Muon for the matrices, AdamW for embeddings and norms.

Owns: the update rules. Must not know: the model's structure beyond parameter shapes.
Muon follows Keller Jordan's method: momentum, made orthogonal by a quintic Newton-Schulz iteration.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Optimizer"]

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def _orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix with singular values near 1; batched over dimension 0."""
    a, b, c = _NEWTON_SCHULZ
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if tall else matrix
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result


class Optimizer:
    """One step over all parameters; learning rates are scaled by the schedule's factor."""

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], *, matrix_rate: float, other_rate: float
    ) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        others: list[nn.Parameter] = []
        for name, parameter in named:
            if parameter.ndim == 2 and "embed" not in name:
                by_shape.setdefault(parameter.shape, []).append(parameter)
            else:
                others.append(parameter)
        self._stacks = list(by_shape.values())
        self._momenta = [torch.zeros(len(s), *s[0].shape, device=s[0].device) for s in self._stacks]
        self._matrix_rate, self._other_rate = matrix_rate, other_rate
        self._adam = torch.optim.AdamW(
            others, lr=other_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        )

    @torch.no_grad()
    def step(self, factor: float, momentum: float = 0.95) -> None:
        """Updates the parameters and clears their gradients; `factor` scales both rates."""
        for stack, buffer in zip(self._stacks, self._momenta, strict=True):
            gradient = torch.stack([p.grad for p in stack if p.grad is not None])
            buffer.lerp_(gradient, 1 - momentum)
            update = _orthogonal(gradient.lerp(buffer, momentum))
            rows, columns = stack[0].shape
            rate = self._matrix_rate * factor * max(1.0, rows / columns) ** 0.5
            for parameter, change in zip(stack, update, strict=True):
                parameter.mul_(1 - 0.05 * rate).sub_(change, alpha=rate)
                parameter.grad = None
        for group in self._adam.param_groups:
            group["lr"] = self._other_rate * factor
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"momenta": self._momenta, "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        for buffer, saved in zip(self._momenta, state["momenta"], strict=True):
            buffer.copy_(saved)
        self._adam.load_state_dict(state["adam"])
