"""The ledger of KV blocks: which are free, which are shared, which hold a known prefix.

Owns: reference counts, the free queue in eviction order, the hash index. It *is* the prefix cache:
a freed block keeps its content and its hash until it is taken again. Must not know: requests,
tensors, tokens (hashes arrive ready made). Follows vLLM's v1 block pool: an intrusive doubly
linked list makes taking a cached block out of the middle of the free queue O(1).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.logprobs import LogprobRows

__all__ = ["Block", "BlockPool"]


@dataclass(slots=True, eq=False)
class Block:
    """One block; `previous_free` and `next_free` link it into the free queue while unused.

    `scores`: how likely its tokens were, if somebody has asked; they come and go with its hash.
    """

    block_id: int
    num_users: int = 0
    block_hash: bytes | None = None
    scores: LogprobRows | None = None
    previous_free: "Block | None" = None
    next_free: "Block | None" = None


class BlockPool:
    """All blocks of one KV group.

    The free queue is ordered by eviction: its head is taken first. `free` must be given the blocks
    of a request last block first, so that the tails of chains are evicted before their heads, and
    what was freed longest ago before what was freed just now.
    """

    def __init__(self, num_blocks: int, *, enable_caching: bool = True) -> None:
        if num_blocks < 1:
            raise ValueError(f"num_blocks must be at least 1, got {num_blocks}")
        self.num_blocks = num_blocks
        self._enable_caching = enable_caching
        self._blocks = [Block(block_id) for block_id in range(num_blocks)]
        self._cached: dict[bytes, Block] = {}
        # Two sentinels spare every list operation its None checks.
        self._head = Block(-1)
        self._tail = Block(-1)
        self._head.next_free = self._tail
        self._tail.previous_free = self._head
        self._num_free = 0
        for block in self._blocks:
            self._append_free(block)

    @property
    def num_free(self) -> int:
        """Blocks without a user, cached ones included: what `allocate` can hand out."""
        return self._num_free

    @property
    def usage(self) -> float:
        """The share of blocks that requests use, 0..1."""
        return 1.0 - self._num_free / self.num_blocks

    def allocate(self, count: int) -> list[Block]:
        """Take `count` blocks off the head of the free queue, forgetting what they cached.

        The caller has checked `num_free`; too few is a bug here.
        """
        assert count <= self._num_free, f"{count} blocks wanted, {self._num_free} free"
        blocks = []
        for _ in range(count):
            block = self._head.next_free
            assert block is not None
            self._remove_free(block)
            self._forget(block)
            block.num_users = 1
            blocks.append(block)
        return blocks

    def lookup(self, block_hashes: Iterable[bytes]) -> list[Block]:
        """The blocks that hold the longest known beginning of a chain. Takes no reference."""
        found = []
        for block_hash in block_hashes:
            block = self._cached.get(block_hash)
            if block is None:
                break
            found.append(block)
        return found

    def num_unused(self, blocks: Sequence[Block]) -> int:
        """How many of these sit in the free queue, and so would leave it if they were shared."""
        return sum(block.num_users == 0 for block in blocks)

    def share(self, blocks: Iterable[Block]) -> None:
        """Add one user to each block, pulling it out of the free queue if it was unused."""
        for block in blocks:
            if block.num_users == 0:
                self._remove_free(block)
            block.num_users += 1

    def free(self, blocks: Iterable[Block]) -> None:
        """Drop one user from each block. Give a request's blocks last block first."""
        for block in blocks:
            assert block.num_users > 0, f"block {block.block_id} freed twice"
            block.num_users -= 1
            if block.num_users == 0:
                self._append_free(block)

    def publish(self, block: Block, block_hash: bytes) -> None:
        """Make a full block findable. A second block with the same content stays unpublished."""
        if self._enable_caching and block.block_hash is None and block_hash not in self._cached:
            block.block_hash = block_hash
            self._cached[block_hash] = block

    def attach(self, block_hash: bytes, scores: LogprobRows) -> None:
        """Keep scores with the block of this hash, unless it is gone or has as many already."""
        block = self._cached.get(block_hash)
        if block is not None and (block.scores is None or block.scores.num_top < scores.num_top):
            block.scores = scores

    def forget_all(self) -> None:
        """Drop the whole prefix cache: after weights or a KV tensor were lost."""
        for block in list(self._cached.values()):
            self._forget(block)

    def check_integrity(self) -> None:
        """Walk everything and assert that the ledger adds up. For tests and debugging."""
        free = []
        block = self._head.next_free
        while block is not None and block is not self._tail:
            assert block.num_users == 0, f"block {block.block_id} is free and used"
            assert block.next_free is not None, f"block {block.block_id} breaks the free queue"
            assert block.next_free.previous_free is block, f"bad link at block {block.block_id}"
            free.append(block.block_id)
            block = block.next_free
        assert len(free) == len(set(free)) == self._num_free, "free queue and its count disagree"
        unused = sorted(block.block_id for block in self._blocks if block.num_users == 0)
        assert unused == sorted(free), "a block is neither used nor free"
        for block_hash, cached in self._cached.items():
            assert cached.block_hash == block_hash, f"block {cached.block_id} has another hash"
        for block in self._blocks:
            assert block.scores is None or block.block_hash, f"block {block.block_id} is not scored"
        hashed = sum(block.block_hash is not None for block in self._blocks)
        assert hashed == len(self._cached), "a block has a hash that nobody can find"

    def _forget(self, block: Block) -> None:
        if block.block_hash is not None:
            del self._cached[block.block_hash]
            block.block_hash = block.scores = None

    def _append_free(self, block: Block) -> None:
        last = self._tail.previous_free
        assert last is not None
        last.next_free = block
        block.previous_free = last
        block.next_free = self._tail
        self._tail.previous_free = block
        self._num_free += 1

    def _remove_free(self, block: Block) -> None:
        previous, following = block.previous_free, block.next_free
        assert previous is not None
        assert following is not None
        previous.next_free = following
        following.previous_free = previous
        block.previous_free = block.next_free = None
        self._num_free -= 1
