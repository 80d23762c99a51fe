"""Block tables of requests, and what of their prompts is cached already.

Owns: which blocks belong to which request, the chained block hashes, what the ranks have been told.
Must not know: tensors, step budgets, the order of requests. There is one KV group today; block
tables already travel as a tuple with one entry for each group.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import xxhash

from engine.block_pool import Block, BlockPool
from engine.block_scores import block_scores, restore_scores
from engine.request import Request

__all__ = ["KVCacheManager"]


@dataclass(slots=True)
class _Table:
    """A request's blocks, in order. The first `num_sent` are known to the ranks, the first
    `num_published` are findable by their hash, the first `num_scored` have kept their scores.
    """

    blocks: list[Block] = field(default_factory=list)
    num_sent: int = 0
    num_published: int = 0
    num_scored: int = 0


class KVCacheManager:
    """Gives requests blocks and takes them back.

    `fingerprint` keeps models apart whose blocks might one day meet in a shared store; it is part
    of every block hash, as are a request's adapter and cache salt.
    """

    def __init__(
        self,
        pool: BlockPool,
        block_size: int,
        *,
        enable_caching: bool = True,
        fingerprint: str = "",
    ) -> None:
        self._pool = pool
        self._block_size = block_size
        self._enable_caching = enable_caching
        self._fingerprint = fingerprint
        self._tables: dict[str, _Table] = {}
        self._hashes: dict[str, list[bytes]] = {}

    @property
    def is_caching(self) -> bool:
        """Whether prefixes are kept and shared."""
        return self._enable_caching

    @property
    def capacity_tokens(self) -> int:
        """How many tokens of KV fit in all."""
        return self._pool.num_blocks * self._block_size

    def find_prefix(self, request: Request) -> list[Block]:
        """The cached blocks that begin the request. Takes no reference: use them at once.

        At least one token is always left to compute, since sampling needs its logits; and so are
        all from the first whose logits a wanted log probability needs. Scores that an earlier
        request left with the blocks need no logits: the record takes them over.
        """
        if not self._enable_caching:
            return []
        num_usable = (request.num_tokens - 1) // self._block_size
        blocks = self._pool.lookup(self._block_hashes(request, num_usable))
        if request.logprobs is None:
            return blocks
        restore_scores(request.logprobs, blocks, self._block_size)
        return blocks[: (request.logprobs.next_token - 1) // self._block_size]

    def prefix_of(self, parent: Request, child: Request) -> list[Block] | None:
        """The prompt blocks a fork shares with its parent; None while they are not computed."""
        table = self._tables.get(parent.request_id)
        num_shared = (child.num_prompt_tokens - 1) // self._block_size
        if table is None or parent.num_computed_tokens < num_shared * self._block_size:
            return None
        return table.blocks[:num_shared]

    def can_admit(self, request: Request, prefix: Sequence[Block]) -> bool:
        """Whether the request's known tokens and one more fit into the free blocks.

        Counting the whole prompt, not just its first chunk, keeps two long prompts from blocking
        each other half-way.
        """
        num_tokens = request.num_tokens + min(1, request.stop.max_tokens)
        num_needed = self._num_blocks(num_tokens) - len(prefix)
        return num_needed <= self._pool.num_free - self._pool.num_unused(prefix)

    def admit(self, request: Request, prefix: Sequence[Block]) -> None:
        """Open the request's table with shared blocks; `num_computed_tokens` becomes their size."""
        assert request.request_id not in self._tables, f"{request.request_id} admitted twice"
        self._pool.share(prefix)
        self._tables[request.request_id] = _Table(list(prefix), num_published=len(prefix))
        request.num_computed_tokens = len(prefix) * self._block_size

    def extend(self, request: Request, num_tokens: int) -> bool:
        """Make room for positions [0, num_tokens). False, changing nothing, if blocks lack."""
        table = self._tables[request.request_id]
        num_missing = self._num_blocks(num_tokens) - len(table.blocks)
        if num_missing > self._pool.num_free:
            return False
        if num_missing > 0:
            table.blocks += self._pool.allocate(num_missing)
        return True

    def publish(self, request: Request) -> None:
        """Make the request's full blocks findable, up to what is computed once this step ran.

        Called while the step is planned: its KV is written layer by layer before anybody reads it,
        so a request of the same step may share the blocks already. A failed step takes the
        blocks back (`withdraw`).
        """
        if not self._enable_caching:
            return
        table = self._tables[request.request_id]
        num_full = min(request.num_computed_tokens, request.num_tokens) // self._block_size
        if num_full <= table.num_published:
            return
        hashes = self._block_hashes(request, num_full)
        for index in range(table.num_published, num_full):
            self._pool.publish(table.blocks[index], hashes[index])
        table.num_published = num_full

    def keep_scores(self, request: Request) -> None:
        """Leave the scores of the prompt's full blocks with them, for requests that share them."""
        table = self._tables.get(request.request_id)
        if table is None or request.logprobs is None:
            return
        num_tokens = min(request.logprobs.next_token, request.num_prompt_tokens)
        num_full = min(num_tokens // self._block_size, table.num_published)
        if num_full <= table.num_scored:
            return
        rows = request.logprobs.rows()
        hashes = self._block_hashes(request, num_full)
        for index in range(table.num_scored, num_full):
            scores = block_scores(rows, index, self._block_size)
            if scores is not None:
                self._pool.attach(hashes[index], scores)
        table.num_scored = num_full

    def withdraw(self, request: Request) -> None:
        """Undo after a failed step: the ranks must be told the whole table again."""
        table = self._tables[request.request_id]
        table.num_sent = 0
        table.num_published = min(
            table.num_published, request.num_computed_tokens // self._block_size
        )

    def forget_prefixes(self) -> None:
        """Drop the prefix cache: a failed step may have left blocks it promised unwritten."""
        self._pool.forget_all()

    def take_new_block_ids(self, request: Request) -> tuple[tuple[int, ...], ...]:
        """The block ids the ranks do not know yet, for each KV group; counts them as sent."""
        table = self._tables[request.request_id]
        new = tuple(block.block_id for block in table.blocks[table.num_sent :])
        table.num_sent = len(table.blocks)
        return (new,)

    def release(self, request: Request) -> None:
        """Give the request's blocks back, chain tails first so that they are evicted first."""
        table = self._tables.pop(request.request_id, None)
        if table is not None:
            self._pool.free(reversed(table.blocks))
        if request.is_finished:
            self._hashes.pop(request.request_id, None)

    def check_integrity(self) -> None:
        """Assert that the tables and the pool's counts agree. For tests and debugging."""
        self._pool.check_integrity()
        num_uses: dict[int, int] = {}
        for table in self._tables.values():
            ids = [block.block_id for block in table.blocks]
            assert len(ids) == len(set(ids)), "a table holds a block twice"
            for block in table.blocks:
                num_uses[block.block_id] = num_uses.get(block.block_id, 0) + 1
                assert block.num_users > 0, f"block {block.block_id} is in a table but free"
        for table in self._tables.values():
            for block in table.blocks:
                assert block.num_users == num_uses[block.block_id], "a block's users leaked"
        num_free = self._pool.num_blocks - len(num_uses)
        assert num_free == self._pool.num_free, "blocks without a table are not free"

    def _num_blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self._block_size)

    def _block_hashes(self, request: Request, count: int) -> list[bytes]:
        """The first `count` chained hashes; xxh3-128, the same in every process."""
        hashes = self._hashes.setdefault(request.request_id, [])
        size = self._block_size
        for index in range(len(hashes), count):
            parent = hashes[-1] if hashes else self._root(request)
            tokens = array("q", request.token_ids(index * size, (index + 1) * size))
            hashes.append(xxhash.xxh3_128_digest(parent + tokens.tobytes()))
        return hashes[:count] if count < len(hashes) else hashes

    def _root(self, request: Request) -> bytes:
        parts = (self._fingerprint, request.adapter, request.cache_salt)
        return "\0".join(f"{len(part)}:{part}" for part in parts).encode()
