"""Linear layers with weights in panels, spelled out. Owns: the reference on any device."""

from torch import Tensor
from torch.nn import functional

from kernels.panel_linear.weight import PanelWeights

__all__ = ["panel_linear"]


def panel_linear(
    x: Tensor, weights: PanelWeights, ends: Tensor, bias: Tensor | None = None
) -> Tensor:
    """See `kernels.panel_linear.PanelLinear`."""
    output = x.new_empty(x.shape[0], weights.num_outputs)
    start = 0
    for group, end in enumerate(ends.tolist()):
        if start < end:
            made = functional.linear(x[start:end].float(), weights.dense(group))
            output[start:end] = made if bias is None else made + bias[group].float()
        start = end
    return output
