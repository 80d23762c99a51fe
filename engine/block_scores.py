"""Log probabilities that stay with cached blocks.

Owns: which rows belong to a block, and taking them over. Must not know: requests, hashes, which
blocks are cached. Evaluations score the same long context again and again, each time with another
ending: its blocks come from the prefix cache, and with their scores there is no need to compute
their logits either.

A block's first token is scored by the logits of the position before it, so a block whose scores are
known is still computed if it is the last one: the next token needs its logits.
"""

from collections.abc import Sequence

from engine.block_pool import Block
from engine.logprobs import LogprobRecord, LogprobRows

__all__ = ["block_scores", "restore_scores"]


def block_scores(rows: LogprobRows, index: int, block_size: int) -> LogprobRows | None:
    """The rows of block `index`'s tokens, in memory of their own; None if some are missing. The
    first token of all has none.
    """
    start, stop = max(1, index * block_size), (index + 1) * block_size
    part = rows.part(start, stop)
    if part.first_token != start or len(part) != stop - start:
        return None
    return part.copy(rows.num_top)


def restore_scores(record: LogprobRecord, blocks: Sequence[Block], block_size: int) -> None:
    """Let the record take over what the blocks, which begin its request, have from where it stands
    on.
    """
    for block in blocks[record.next_token // block_size :]:
        scores = block.scores
        if scores is None or scores.num_top < record.num_top:
            return
        record.extend(scores.copy(record.num_top))
