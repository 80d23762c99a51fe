"""The compiled paged attention, on each instruction set that this machine has."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from kernels.cpu_library import use_invariant_attention
from kernels.float8 import FLOAT8
from kernels.paged_attention.cases import CASES, TOLERANCES, PagedAttentionCase
from kernels.paged_attention.reference import paged_attention as reference
from kernels.registry import resolve
from tests.kernels.arguments import arguments
from tests.kernels.cpu.long_cases import LONG_CASES
from tests.kernels.test_paged_attention import move_blocks, row_slices, take_rows

DTYPES = (torch.float32, torch.bfloat16)


def attend(inputs):
    return resolve("paged_attention", "cpu")(**arguments(inputs))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES + LONG_CASES, ids=lambda case: case.name)
def test_it_agrees_with_the_reference(compiled, case, dtype):
    inputs = case.make_inputs(dtype)
    output = attend(inputs)
    assert output.dtype == dtype
    TOLERANCES[dtype].check(output, reference(**arguments(inputs)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", LONG_CASES, ids=lambda case: case.name)
def test_row_has_the_same_bits_in_any_company_with_any_threads(compiled, case, dtype):
    inputs = case.make_inputs(dtype)
    slices, output = row_slices(inputs), attend(inputs)
    order = random.Random(3).sample(range(len(slices)), len(slices))
    for num_threads in (1, 2, 5):
        torch.set_num_threads(num_threads)
        shuffled = take_rows(move_blocks(inputs, seed=num_threads), order)
        shuffled_output = attend(shuffled)
        for row, tokens in enumerate(slices):
            place = row_slices(shuffled)[order.index(row)]
            assert torch.equal(shuffled_output[place], output[tokens])
            assert torch.equal(attend(take_rows(inputs, [row])), output[tokens])


def in_chunks(inputs, bounds):
    """The new tokens of a step of one row, computed in chunks."""
    seq_len, num_tokens = int(inputs.seq_lens[0]), len(inputs.query)
    pieces = []
    for start, stop in pairwise(bounds):
        step = replace(
            inputs,
            query=inputs.query[start:stop],
            cu_seqlens_q=torch.tensor([0, stop - start], dtype=torch.int32),
            seq_lens=torch.tensor([seq_len - num_tokens + stop], dtype=torch.int32),
        )
        pieces.append(attend(step))
    return torch.cat(pieces)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", LONG_CASES, ids=lambda case: case.name)
def test_token_has_the_same_bits_however_its_prompt_is_cut(compiled, case, dtype):
    if (compiled, dtype, case.cache_dtype) == ("amx", torch.bfloat16, None):
        use_invariant_attention()  # AMX tiles add in another order than what computes lone tokens
    inputs = replace(case, rows=((140, 1150),)).make_inputs(dtype)
    whole = attend(inputs)
    shuffle = random.Random(5)
    for num_chunks in (2, 9, 70):
        bounds = [0, *sorted(shuffle.sample(range(1, 140), num_chunks - 1)), 140]
        assert torch.equal(in_chunks(inputs, bounds), whole)


def test_views_of_other_layouts_are_read_in_place(compiled):
    inputs = LONG_CASES[1].make_inputs(torch.bfloat16)
    expected = attend(inputs)
    key_cache, value_cache = (
        cache.transpose(1, 2).contiguous().transpose(1, 2)
        for cache in (inputs.key_cache, inputs.value_cache)
    )
    wide_table = torch.cat([inputs.block_table, inputs.block_table], dim=1)
    viewed = replace(
        inputs,
        query=inputs.query.transpose(0, 1).contiguous().transpose(0, 1),
        key_cache=key_cache,
        value_cache=value_cache,
        block_table=wide_table[:, : inputs.block_table.shape[1]],
    )
    assert torch.equal(attend(viewed), expected)


def test_blocks_before_the_window_are_not_read(compiled):
    case = PagedAttentionCase(name="freed", rows=((1, 800), (5, 90)), sliding_window=20)
    inputs = case.make_inputs(torch.bfloat16)
    freed = inputs.block_table.clone()
    freed[0, : (800 - 20) // 16] = 2**31 - 1
    freed[1, : (85 - 19) // 16] = 2**31 - 1
    freed[0, 50:] = -1
    freed[1, 6:] = -1
    assert torch.equal(attend(replace(inputs, block_table=freed)), attend(inputs))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_splits_before_a_token_s_window_do_not_reach_it(compiled, num_threads):
    torch.set_num_threads(num_threads)
    case = PagedAttentionCase(name="left", rows=((40, 1342),), sliding_window=800, key_dim=128)
    inputs = case.make_inputs(torch.float32)
    expected = attend(inputs)
    positions = torch.arange(504, 512)  # of these, tokens before position 1311 see some
    inputs.value_cache[inputs.block_table[0, positions // 16].long(), positions % 16] = float("nan")
    output = attend(inputs)
    assert output[0].isnan().all()
    assert torch.equal(output[1311 - 1302 :], expected[1311 - 1302 :])


def test_padding_tokens_do_not_disturb_the_others(compiled):
    inputs = CASES[3].make_inputs(torch.float32)
    padding = torch.full((5, *inputs.query.shape[1:]), float("nan"))
    padded = attend(replace(inputs, query=torch.cat([inputs.query, padding])))
    assert torch.equal(padded[:-5], attend(inputs))


def test_step_without_rows_is_empty(compiled):
    inputs = PagedAttentionCase(name="empty", rows=()).make_inputs(torch.float32)
    assert attend(inputs).shape == (0, 4, 16)


def test_nan_stays_with_its_head(compiled):
    inputs = LONG_CASES[0].make_inputs(torch.bfloat16)
    expected = attend(inputs)
    query = inputs.query.clone()
    query[7, 2] = float("nan")
    output = attend(replace(inputs, query=query))
    assert output[7, 2].isnan().all()
    output[7, 2] = expected[7, 2]
    assert torch.equal(output, expected)


@pytest.mark.parametrize("width", [256, 255])
@pytest.mark.parametrize("num_queries", [1, 12], ids=["few", "many"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_8_bit_float_is_read_as_what_it_is(compiled, dtype, num_queries, width):
    """A token that sees one key has that key's value as its result."""
    case = PagedAttentionCase(
        name="x",
        rows=((num_queries, num_queries),),
        value_dim=width,
        block_size=1,
        cache_dtype=FLOAT8,
        sliding_window=1,
    )
    inputs = case.make_inputs(dtype)
    codes = torch.arange(width, dtype=torch.int32).to(torch.uint8)
    inputs.value_cache.view(torch.uint8)[...] = codes
    output = attend(inputs)
    expected = codes.view(FLOAT8).to(dtype).expand_as(output)
    torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("num_queries", [1, 30], ids=["few", "many"])
def test_nan_among_8_bit_keys_stays_with_the_tokens_that_see_it(compiled, num_queries):
    case = PagedAttentionCase(
        name="x", rows=((num_queries, 600), (num_queries, 600)), cache_dtype=FLOAT8
    )
    inputs = case.make_inputs(torch.float32)
    expected = attend(inputs)
    inputs.key_cache.view(torch.uint8)[inputs.block_table[0, 33], 5, 1, 3] = 0xFF
    output = attend(inputs)
    assert output[:num_queries, 2:].isnan().all()
    assert torch.equal(output[:num_queries, :2], expected[:num_queries, :2])
    assert torch.equal(output[num_queries:], expected[num_queries:])


def test_caches_of_two_formats_are_left_to_the_reference(compiled):
    inputs = replace(CASES[1], cache_dtype=FLOAT8).make_inputs(torch.float32)
    mixed = replace(inputs, value_cache=inputs.value_cache.float())
    assert torch.equal(attend(mixed), reference(**arguments(mixed)))


def test_large_scores_do_not_overflow(compiled):
    inputs = CASES[3].make_inputs(torch.float32)
    inputs = replace(inputs, query=inputs.query * 1e4)
    TOLERANCES[torch.float32].check(attend(inputs), reference(**arguments(inputs)))


def test_half_precision_is_left_to_the_reference(compiled):
    inputs = CASES[1].make_inputs(torch.float16)
    assert torch.equal(attend(inputs), reference(**arguments(inputs)))


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("block_table", (4, 3), 10_000),
        ("block_table", (4, 3), -1),
        ("seq_lens", (4,), 5000),
        ("seq_lens", (4,), 0),
        ("cu_seqlens_q", (6,), 7),
        ("cu_seqlens_q", (3,), 1),
        ("cu_seqlens_q", (0,), -1),
    ],
)
def test_what_lies_outside_of_a_tensor_is_refused_before_it_is_read(compiled, name, index, value):
    inputs = CASES[1].make_inputs(torch.float32)
    tensor = getattr(inputs, name).clone()
    tensor[index] = value
    with pytest.raises(IndexError, match="paged_attention"):
        attend(replace(inputs, **{name: tensor}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("query", lambda x: x[..., :8]),
        ("query", lambda x: x[:, :3]),
        ("query", lambda x: x.transpose(1, 2).contiguous().transpose(1, 2)),
        ("key_cache", lambda x: x[:-1]),
        ("block_table", lambda x: x.long()),
        ("block_table", lambda x: x[:-1]),
        ("seq_lens", lambda x: x.repeat_interleave(2)[::2]),
        ("cu_seqlens_q", lambda x: x[:-1]),
        ("sinks", lambda x: torch.zeros(3)),
        ("sliding_window", lambda x: 0),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(compiled, name, change):
    inputs = CASES[1].make_inputs(torch.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        attend(replace(inputs, **{name: change(getattr(inputs, name))}))
