import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.block_pool import Block, BlockPool


def _hash(number: int) -> bytes:
    return number.to_bytes(16, "little")


def test_allocates_every_block_once_and_refuses_an_empty_pool() -> None:
    pool = BlockPool(4)
    assert sorted(block.block_id for block in pool.allocate(4)) == [0, 1, 2, 3]
    assert pool.num_free == 0
    with pytest.raises(AssertionError, match="1 blocks wanted, 0 free"):
        pool.allocate(1)
    with pytest.raises(ValueError, match="at least 1"):
        BlockPool(0)


def test_a_freed_block_is_found_by_its_hash_until_it_is_taken_again() -> None:
    pool = BlockPool(2)
    block = pool.allocate(1)[0]
    pool.publish(block, _hash(7))
    pool.free([block])
    assert pool.lookup([_hash(7)]) == [block]
    taken = pool.allocate(2)
    assert block in taken
    assert pool.lookup([_hash(7)]) == []
    pool.check_integrity()


def test_chain_tails_are_evicted_before_their_heads() -> None:
    pool = BlockPool(3)
    chain = pool.allocate(3)
    for index, block in enumerate(chain):
        pool.publish(block, _hash(index))
    pool.free(reversed(chain))
    pool.allocate(1)
    assert pool.lookup([_hash(0), _hash(1), _hash(2)]) == chain[:2]


def test_what_was_freed_longest_ago_goes_first() -> None:
    pool = BlockPool(2)
    first, second = pool.allocate(2)
    pool.free([second])
    pool.free([first])
    assert pool.allocate(1) == [second]


def test_sharing_a_cached_block_takes_it_out_of_the_free_queue() -> None:
    pool = BlockPool(2)
    block = pool.allocate(1)[0]
    pool.publish(block, _hash(1))
    pool.free([block])
    assert pool.num_unused([block]) == 1
    pool.share([block])
    assert pool.num_free == 1
    assert block not in pool.allocate(1)
    pool.check_integrity()


def test_the_second_block_with_the_same_content_stays_private() -> None:
    pool = BlockPool(2)
    first, second = pool.allocate(2)
    pool.publish(first, _hash(1))
    pool.publish(second, _hash(1))
    assert pool.lookup([_hash(1)]) == [first]
    assert second.block_hash is None


def test_freeing_twice_is_caught() -> None:
    pool = BlockPool(1)
    block = pool.allocate(1)
    pool.free(block)
    with pytest.raises(AssertionError, match="freed twice"):
        pool.free(block)


def test_without_caching_nothing_is_found() -> None:
    pool = BlockPool(1, enable_caching=False)
    block = pool.allocate(1)[0]
    pool.publish(block, _hash(1))
    assert pool.lookup([_hash(1)]) == []


def test_integrity_check_notices_a_leak() -> None:
    pool = BlockPool(2)
    pool.allocate(1)[0].num_users = 0
    with pytest.raises(AssertionError, match="neither used nor free"):
        pool.check_integrity()


class _PoolMachine(RuleBasedStateMachine):
    """Random users of a small pool; the model is a list of what each holds."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(12)
        self.held: list[list[Block]] = []
        self.published: dict[bytes, int] = {}

    @rule(count=st.integers(1, 5))
    def allocate(self, count: int) -> None:
        if count <= self.pool.num_free:
            blocks = self.pool.allocate(count)
            others = {block.block_id for held in self.held for block in held}
            assert not others & {block.block_id for block in blocks}
            self.held.append(blocks)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), number=st.integers(0, 30))
    def publish(self, data: st.DataObject, number: int) -> None:
        block = data.draw(st.sampled_from(data.draw(st.sampled_from(self.held))))
        self.pool.publish(block, _hash(number))

    @rule(number=st.integers(0, 30))
    def share(self, number: int) -> None:
        found = self.pool.lookup([_hash(number)])
        if found:
            assert found[0].block_hash == _hash(number)
            self.pool.share(found)
            self.held.append(found)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        self.pool.free(reversed(self.held.pop(index)))

    @invariant()
    def adds_up(self) -> None:
        self.pool.check_integrity()
        used = {block.block_id for held in self.held for block in held}
        assert self.pool.num_free == 12 - len(used)


TestPoolMachine = _PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
