"""Does a loaded model compute the same through paged attention as through its own?

Owns: comparing both once, at start-up, on a few tokens. Must not know: requests, the scheduler. It
guards against models whose layers remember something outside of attention, or attend in a way that
no config tells: those would run, and answer nonsense.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from engine.attention import PagedAttention
from engine.errors import ModelRefusedError
from engine.kv_cache import KVCache
from engine.model.load import LoadedModel
from engine.model.refusals import refused_if_it_fails
from kernels.decoder_layers.layer import StepTables

__all__ = ["check_paged_attention", "own_logits"]

_log = logging.getLogger(__name__)

# The last token comes alone: whatever is remembered outside of attention is missing then. Few
# tokens, so that the check costs about as much as generating three.
_CHUNKS = (7, 1)
_BLOCK_SIZE = 4
# Share of the logits' own size by which both may differ. Half precision and int8 round differently
# in the two, and a router of experts may then choose another one; what is caught here is off by far
# more.
_TOLERANCE = {torch.float32: 0.01}
_ROUNDING_TOLERANCE = 0.25


def own_logits(loaded: LoadedModel, name: str) -> Tensor:
    """Centred logits [V], float32, of the last of a few tokens that go through the model's own
    attention at once: what `check_paged_attention` compares with. Take them from the model as
    transformers loads it, before any of its layers is replaced.

    Raises ModelRefusedError, with `name` for the model, if it cannot compute them.
    """
    token_ids = _token_ids(loaded)
    loaded.module.set_attn_implementation("eager")
    with torch.inference_mode(), refused_if_it_fails(name):
        # No positions: those of RoBERTa's family do not begin with 0, which only the model knows.
        output = loaded.module(input_ids=token_ids.unsqueeze(0), use_cache=False)
    return _centre(output.logits[0, -1])


def check_paged_attention(loaded: LoadedModel, expected: Tensor, name: str) -> None:
    """Send the same tokens through our attention in chunks.

    Raises ModelRefusedError, with `name` for the model, if the logits are not the `expected` ones.
    """
    with torch.inference_mode():
        actual = _paged_logits(loaded, _token_ids(loaded))
    if not bool(expected.isfinite().all()):
        _log.warning("%s: its logits overflow in %s; its requests will fail", name, loaded.dtype)
        return
    difference = float((actual - expected).norm() / expected.norm())
    _log.debug("%s: paged attention differs by %.2g of the logits", name, difference)
    tolerance = _TOLERANCE.get(loaded.dtype, _ROUNDING_TOLERANCE)
    if not difference <= (_ROUNDING_TOLERANCE if loaded.rounds_rows else tolerance):
        raise ModelRefusedError(
            f"cannot run {name}: {type(loaded.module).__name__} does not compute the same with "
            f"paged attention (its logits differ by {difference:.0%}); its layers keep state of "
            "their own, or count positions or attend in a way that is not supported"
        )


def _token_ids(loaded: LoadedModel) -> Tensor:
    num_tokens = min(sum(_CHUNKS), loaded.max_model_len)
    return (torch.arange(num_tokens, device=loaded.device) * 37 + 11) % loaded.vocab_size


def _paged_logits(loaded: LoadedModel, token_ids: Tensor) -> Tensor:
    """The same, in chunks and through a small cache whose blocks are not in order. It keeps the
    model's own dtype, whatever the engine's cache is kept in: rounding is no fault of the model.
    """
    cache = KVCache(
        list(loaded.layers.values()),
        num_blocks=-(-len(token_ids) // _BLOCK_SIZE),
        block_size=_BLOCK_SIZE,
        device=loaded.device,
    )
    attention = PagedAttention(list(loaded.layers), cache, device=loaded.device)
    loaded.module.set_attn_implementation(attention.name)
    table = torch.arange(cache.num_blocks - 1, -1, -1, device=loaded.device, dtype=torch.int32)
    logits = None
    try:
        for positions in _split(torch.arange(len(token_ids), device=loaded.device), _CHUNKS):
            attention.step = _step(table, positions)
            logits = loaded.module(
                input_ids=token_ids[positions].unsqueeze(0),
                position_ids=positions.unsqueeze(0),
                use_cache=False,
            ).logits[0, -1]
    finally:
        attention.close()
    assert logits is not None
    return _centre(logits)


def _step(table: Tensor, positions: Tensor) -> StepTables:
    blocks = table[positions // _BLOCK_SIZE].to(torch.int64)
    return StepTables(
        block_table=table.unsqueeze(0),
        cu_seqlens_q=table.new_tensor([0, len(positions)]),
        seq_lens=(positions[-1:] + 1).to(torch.int32),
        slot_mapping=blocks * _BLOCK_SIZE + positions % _BLOCK_SIZE,
    )


def _split(positions: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    bounds = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    chunks = [positions[start:stop] for start, stop in pairwise(bounds)]
    return [chunk for chunk in chunks if len(chunk)]


def _centre(logits: Tensor) -> Tensor:
    logits = logits.float()
    return logits - logits.mean()
