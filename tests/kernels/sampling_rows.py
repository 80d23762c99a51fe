"""Building and rearranging the rows of a sampling step."""

from dataclasses import replace
from typing import Any

import torch

from kernels.sampling import Penalties, SamplingTensors, TokenBans, TokenBiases
from kernels.sampling.cases import SamplingInputs

__all__ = ["filled", "history", "take_rows"]

_PER_ROW = ("temperature", "uniform", "min_p", "top_k", "top_p")
_PER_PENALISED_ROW = (
    "token_ids",
    "num_prompt_tokens",
    "num_tokens",
    "repetition",
    "presence",
    "frequency",
)


def filled(num_rows: int, **values: float) -> SamplingTensors:
    """The same parameters in every row."""
    tensors: dict[str, Any] = {}
    for name, value in values.items():
        dtype = {"top_k": torch.int64, "uniform": torch.float64}.get(name, torch.float32)
        tensors[name] = torch.full((num_rows,), value, dtype=dtype)
    return SamplingTensors(**tensors)


def history(
    prompt: list[int],
    output: list[int],
    *,
    repetition: float = 1.0,
    presence: float = 0.0,
    frequency: float = 0.0,
) -> Penalties:
    """Penalties of row 0 alone, with some padding behind its tokens."""
    return Penalties(
        rows=torch.tensor([0]),
        token_ids=torch.tensor([[*prompt, *output, -1, 10**9]]),
        num_prompt_tokens=torch.tensor([len(prompt)]),
        num_tokens=torch.tensor([len(prompt) + len(output)]),
        repetition=torch.tensor([repetition]),
        presence=torch.tensor([presence]),
        frequency=torch.tensor([frequency]),
    )


def take_rows(inputs: SamplingInputs, order: list[int]) -> SamplingInputs:
    """The step that consists of these rows, in this order."""
    params = inputs.params
    changes: dict[str, Any] = {
        name: getattr(params, name)[order] for name in _PER_ROW if getattr(params, name) is not None
    }
    if params.bans is not None:
        new_rows, pairs = _take_pairs(params.bans.rows, order)
        changes["bans"] = TokenBans(rows=new_rows, token_ids=params.bans.token_ids[pairs])
    if params.biases is not None:
        new_rows, pairs = _take_pairs(params.biases.rows, order)
        changes["biases"] = TokenBiases(
            rows=new_rows,
            token_ids=params.biases.token_ids[pairs],
            values=params.biases.values[pairs],
        )
    if params.penalties is not None:
        penalties = params.penalties
        new_rows, places = _take_pairs(penalties.rows, order)
        fields = {name: getattr(penalties, name)[places] for name in _PER_PENALISED_ROW}
        changes["penalties"] = Penalties(rows=new_rows, **fields)
    return SamplingInputs(logits=inputs.logits[order].clone(), params=replace(params, **changes))


def _take_pairs(rows: torch.Tensor, order: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Which entries of `rows` belong to the chosen rows, and what those rows are called now."""
    matches = [(new, torch.nonzero(rows == old).flatten()) for new, old in enumerate(order)]
    new_rows = [torch.full_like(places, new) for new, places in matches]
    return torch.cat(new_rows), torch.cat([places for _, places in matches])
