"""Linear layers with weights in panels, spelled out. Owns: the reference on any device."""

from torch import Tensor, cat, split

from kernels.panel_linear.int8 import rounded
from kernels.panel_linear.weight import PanelWeights

__all__ = ["panel_linear"]


def panel_linear(
    x: Tensor, weights: PanelWeights, ends: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """See `kernels.panel_linear.PanelLinear`."""
    rows = x.reshape(-1, weights.num_inputs)
    output = x.new_empty(len(rows), weights.num_outputs)
    start = 0
    for group, end in enumerate([len(rows)] if ends is None else ends.tolist()):
        if start < end:
            made = _product(rows[start:end].float(), weights, group)
            output[start:end] = made if bias is None else made + bias[group].float()
        start = end
    return output.view(*x.shape[:-1], weights.num_outputs)


def _product(rows: Tensor, weights: PanelWeights, group: int) -> Tensor:
    if weights.rounds_rows:
        rows = rounded(rows)
    # One panel at a time: a whole vocabulary in float32 would need its old memory again.
    panels = split(weights.panels[group], 1)
    sums = cat([rows @ weights.in_order(panel)[0].float() for panel in panels], dim=1)
    sums = sums[:, : weights.num_outputs]
    return sums if weights.scales is None else sums * weights.scales[group]
