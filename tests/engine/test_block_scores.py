from engine.block_pool import Block, BlockPool
from engine.block_scores import block_scores, restore_scores
from engine.logprobs import LogprobRecord
from tests.engine.test_logprobs import rows


def test_a_block_keeps_the_scores_of_all_its_tokens_or_none() -> None:
    recorded = rows(1, 10)
    first = block_scores(recorded, 0, 4)
    assert first is not None
    assert (first.first_token, len(first)) == (1, 3)
    second = block_scores(recorded, 1, 4)
    assert second is not None
    assert second.logprobs.tolist() == [-4, -5, -6, -7]
    assert second.logprobs.base is None  # not a view that keeps the whole prompt alive
    assert block_scores(recorded, 2, 4) is None
    assert block_scores(rows(6, 10), 1, 4) is None


def _blocks(*starts: int | None) -> list[Block]:
    return [
        Block(index, scores=rows(max(1, start), start + 4) if start is not None else None)
        for index, start in enumerate(starts)
    ]


def test_a_record_takes_over_what_the_blocks_have_in_a_row() -> None:
    record = LogprobRecord(first_token=1, num_top=2)
    restore_scores(record, _blocks(0, 4, None, 12), 4)
    assert record.next_token == 8
    record = LogprobRecord(first_token=6, num_top=1)
    restore_scores(record, _blocks(None, 4, 8), 4)
    assert record.next_token == 12
    assert record.rows().logprobs.tolist() == [-6, -7, -8, -9, -10, -11]
    assert record.rows().num_top == 1


def test_fewer_likely_tokens_than_wanted_are_of_no_use() -> None:
    record = LogprobRecord(first_token=1, num_top=3)
    restore_scores(record, _blocks(0, 4), 4)
    assert record.next_token == 1


def test_scores_belong_to_a_hash_and_go_with_it() -> None:
    pool = BlockPool(2)
    (block,) = pool.allocate(1)
    pool.publish(block, b"x")
    pool.attach(b"x", rows(0, 4, num_top=3))
    pool.attach(b"x", rows(0, 4, num_top=1))
    pool.attach(b"y", rows(0, 4))
    assert block.scores is not None
    assert block.scores.num_top == 3
    pool.check_integrity()
    pool.forget_all()
    assert block.scores is None
    pool.check_integrity()
