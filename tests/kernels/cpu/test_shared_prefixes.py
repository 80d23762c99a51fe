"""Rows of the compiled paged attention whose block tables name the same blocks: each has the bits
that it has alone, and what they share is fetched once."""

import random
from dataclasses import replace

import pytest
import torch

from kernels.cpu_library import cpu_library
from kernels.paged_attention.cases import (
    TOLERANCES,
    PagedAttentionCase,
    SharedText,
    share_blocks,
    unshare_blocks,
)
from kernels.paged_attention.reference import paged_attention as reference
from kernels.registry import resolve
from tests.kernels.arguments import arguments
from tests.kernels.test_paged_attention import move_blocks, row_slices, take_rows

DTYPES = (torch.float32, torch.bfloat16)
SPLIT, TILE = 256, 64


# Three levels, like texts that part one after another: 24 rows, 12 of them, 3 of these.
LEVELS = (
    SharedText((*range(24),), 0, 512),
    SharedText((*range(12),), 512, 768),
    SharedText((*range(3),), 768, 1024),
)
# Not a split, one split and a bit, from the middle on, and twice the same rows with others between.
OVERLAPS = (
    SharedText((*range(4),), 0, 240),
    SharedText((*range(4, 9),), 0, 400),
    SharedText((0, 2, 10), 256, 768),
    SharedText((1, 5, 11), 512, 768),
    SharedText((12, 13), 0, 256),
    SharedText((13, 14), 256, 512),
    SharedText((12, 13), 512, 1024),
)
LENGTHS = tuple((1, 1030 + 37 * n % 300) for n in range(24))
# Chunks with few tokens, a long one, rows that are shorter than what they would share.
CHUNKS = ((3, 1100), (2, 1025), (1, 1024), (4, 1026), (70, 1100), (1, 700), (2, 512), (1, 513))
CASES = {
    "levels": (PagedAttentionCase(name="levels", rows=LENGTHS), LEVELS),
    "overlaps": (PagedAttentionCase(name="overlaps", rows=LENGTHS), OVERLAPS),
    "chunks": (
        PagedAttentionCase(name="chunks", rows=CHUNKS + ((1, 1200),) * 4),
        (SharedText((*range(12),), 0, 512), SharedText((0, 1, 2, 3, 4, 8, 9), 512, 1024)),
    ),
    "real_heads": (
        PagedAttentionCase(
            name="real_heads",
            rows=LENGTHS[:5],
            num_heads=16,
            num_kv_heads=8,
            key_dim=128,
            value_dim=128,
        ),
        (SharedText((*range(5),), 0, 768),),
    ),
    # More query vectors than an item takes.
    "one_kv_head": (
        PagedAttentionCase(
            name="one_kv_head", rows=LENGTHS, num_heads=14, num_kv_heads=1, key_dim=19, value_dim=21
        ),
        LEVELS,
    ),
    "window": (
        PagedAttentionCase(
            name="window",
            rows=LENGTHS,
            key_dim=40,
            value_dim=24,
            block_size=24,
            sliding_window=700,
            softcap=3.0,
            has_sinks=True,
        ),
        (SharedText((*range(24),), 0, 768), SharedText((*range(6),), 768, 1008)),
    ),
}
SOFTCAP_AND_SINKS = replace(CASES["levels"][0], softcap=2.0, has_sinks=True, block_size=1)
CASES["softcap_and_sinks"] = (SOFTCAP_AND_SINKS, LEVELS)


def attend(inputs):
    return resolve("paged_attention", "cpu")(**arguments(inputs))


def num_fetched_tiles(inputs):
    from kernels.paged_attention import cpu  # importable where the library is

    return cpu.num_fetched_tiles(**arguments(inputs))


def shared_inputs(name, dtype):
    case, texts = CASES[name]
    return share_blocks(case.make_inputs(dtype), texts)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_shared_keys_give_what_copies_of_them_give(compiled, name, dtype):
    together = shared_inputs(name, dtype)
    copies = unshare_blocks(together)
    assert num_fetched_tiles(together) < num_fetched_tiles(copies)
    output = attend(together)
    assert torch.equal(output, attend(copies))
    TOLERANCES[dtype].check(output, reference(**arguments(together)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_row_has_the_same_bits_alone_and_in_groups_of_any_size_and_order(compiled, name, dtype):
    inputs = shared_inputs(name, dtype)
    slices, output = row_slices(inputs), attend(inputs)
    for row, tokens in enumerate(slices):
        assert torch.equal(attend(take_rows(inputs, [row])), output[tokens])
    shuffle = random.Random(4)
    for size in (2, 3, 5, len(slices) // 2, len(slices)):
        torch.set_num_threads(shuffle.choice((1, 2, 5)))
        rows = shuffle.sample(range(len(slices)), size)
        some = take_rows(move_blocks(inputs, seed=size), rows)
        some_output = attend(some)
        for row, tokens in zip(rows, row_slices(some), strict=True):
            assert torch.equal(some_output[tokens], output[slices[row]])


@pytest.mark.parametrize("copies", [2, 11, 12, 65, 200])
def test_row_has_the_same_bits_beside_any_number_of_its_like(compiled, copies):
    case = PagedAttentionCase(name="like", rows=((1, 530),), num_heads=4, num_kv_heads=2)
    inputs = case.make_inputs(torch.bfloat16)
    output = attend(take_rows(inputs, [0] * copies))
    assert torch.equal(output, attend(inputs).expand_as(output))


def test_nan_stays_with_its_row(compiled):
    inputs = shared_inputs("levels", torch.float32)
    expected = attend(inputs)
    query = inputs.query.clone()
    query[1] = float("nan")
    output = attend(replace(inputs, query=query))
    assert output[1].isnan().all()
    output[1] = expected[1]
    assert torch.equal(output, expected)


def expected_tiles(inputs):
    """What a call fetches, counted split by split: rows with few query vectors that see all of a
    split and have the same blocks there count once for each lot of 128 query vectors.
    """
    _, num_heads, _ = inputs.query.shape
    block_size, num_kv_heads = inputs.key_cache.shape[1:3]
    group = num_heads // num_kv_heads
    alone, shared = 0, {}
    for row, tokens in enumerate(row_slices(inputs)):
        num_tokens, stop = tokens.stop - tokens.start, int(inputs.seq_lens[row])
        window = inputs.sliding_window or stop
        first, last = stop - num_tokens, stop - 1
        assert num_tokens * group <= 128, "longer rows are cut into several pieces"
        for split in range(0, stop, SPLIT):
            begin, end = max(split, first - window + 1), min(split + SPLIT, stop)
            if begin >= end:
                continue
            is_seen = last - window < split and first + 1 >= split + SPLIT
            if num_tokens * group < 24 and is_seen:
                blocks = slice(split // block_size, (split + SPLIT - 1) // block_size + 1)
                key = (split, *inputs.block_table[row, blocks].tolist())
                shared[key] = shared.get(key, 0) + num_tokens * group
            else:
                alone += -(-end // TILE) - begin // TILE
    return num_kv_heads * (alone + sum(-(-n // 128) * SPLIT // TILE for n in shared.values()))


@pytest.mark.parametrize("name", sorted(set(CASES) - {"chunks"}))
def test_each_split_is_fetched_once_for_the_rows_that_share_it(compiled, name):
    inputs = shared_inputs(name, torch.float32)
    assert num_fetched_tiles(inputs) == expected_tiles(inputs)
    copies = unshare_blocks(inputs)
    assert num_fetched_tiles(copies) == expected_tiles(copies) > expected_tiles(inputs)


def test_rows_that_differ_in_one_block_or_do_not_see_all_share_nothing(compiled):
    case = PagedAttentionCase(name="near", rows=((1, 300), (1, 300)))
    inputs = case.make_inputs(torch.float32)
    inputs.block_table[1] = inputs.block_table[0]
    assert num_fetched_tiles(inputs) == 2 * (4 + 2)
    other = replace(inputs, block_table=inputs.block_table.clone())
    other.block_table[1, 3] = other.block_table[1, 4]
    assert num_fetched_tiles(other) == 2 * (5 + 5)
    assert num_fetched_tiles(replace(inputs, sliding_window=299)) == 2 * (5 + 5)
    short = replace(inputs, seq_lens=torch.tensor([300, 255], dtype=torch.int32))
    assert num_fetched_tiles(short) == 2 * (5 + 4)


@pytest.mark.parametrize(("num_tokens", "num_fetched"), [(11, 2 * (4 + 2)), (12, 2 * (5 + 5))])
def test_chunks_with_many_query_vectors_share_nothing(compiled, num_tokens, num_fetched):
    case = PagedAttentionCase(name="chunks", rows=((num_tokens, 300),) * 2)
    inputs = share_blocks(case.make_inputs(torch.float32), [SharedText((0, 1), 0, 256)])
    assert num_fetched_tiles(inputs) == num_fetched


@pytest.mark.skipif(cpu_library() is None, reason="the CPU kernels are not built")
def test_what_is_refused_is_not_counted():
    inputs = PagedAttentionCase(name="near", rows=((1, 300),)).make_inputs(torch.float32)
    inputs.block_table[0, 2] = -1
    with pytest.raises(IndexError, match="attention_tiles"):
        num_fetched_tiles(inputs)
