from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from kernels.paged_attention.cases import CASES, TOLERANCES, PagedAttentionCase
from kernels.paged_attention.reference import _tiles, paged_attention
from kernels.tolerance import DTYPES, Tolerance
from tests.kernels.arguments import arguments


def run(inputs):
    return paged_attention(**arguments(inputs))


def row_slices(inputs):
    bounds = inputs.cu_seqlens_q.tolist()
    return [slice(start, stop) for start, stop in pairwise(bounds)]


def row_tokens(inputs, row):
    """One row's keys and values in float64, fetched position by position."""
    block_size = inputs.key_cache.shape[1]
    table = inputs.block_table[row].tolist()
    positions = range(int(inputs.seq_lens[row]))
    return [
        torch.stack([cache[table[p // block_size], p % block_size] for p in positions]).double()
        for cache in (inputs.key_cache, inputs.value_cache)
    ]


def expected(inputs):
    """Attention by its definition, one query token and one head at a time, in float64."""
    num_tokens, num_heads, _ = inputs.query.shape
    output = torch.zeros(num_tokens, num_heads, inputs.value_cache.shape[3], dtype=torch.float64)
    group = num_heads // inputs.key_cache.shape[2]
    for row, tokens in enumerate(row_slices(inputs)):
        if tokens.start == tokens.stop:
            continue
        keys, values = row_tokens(inputs, row)
        seq_len = int(inputs.seq_lens[row])
        for token in range(tokens.start, tokens.stop):
            position = seq_len - (tokens.stop - token)
            window = inputs.sliding_window or seq_len
            seen = slice(max(0, position - window + 1), position + 1)
            for head in range(num_heads):
                query = inputs.query[token, head].double()
                scores = keys[seen, head // group] @ query * inputs.scale
                if inputs.softcap is not None:
                    scores = inputs.softcap * torch.tanh(scores / inputs.softcap)
                weights = scores.exp()
                total = weights.sum()
                if inputs.sinks is not None:
                    total = total + inputs.sinks[head].double().exp()
                output[token, head] = weights / total @ values[seen, head // group]
    return output


def take_rows(inputs, order):
    """The step that consists of these rows, in this order."""
    slices = row_slices(inputs)
    lengths = torch.tensor([slices[row].stop - slices[row].start for row in order])
    query = torch.cat([inputs.query[slices[row]] for row in order])
    cu_seqlens_q = torch.zeros(len(order) + 1, dtype=torch.int32)
    cu_seqlens_q[1:] = lengths.cumsum(0)
    return replace(
        inputs,
        query=query,
        cu_seqlens_q=cu_seqlens_q,
        block_table=inputs.block_table[order],
        seq_lens=inputs.seq_lens[order],
    )


def move_blocks(inputs, seed):
    """The same contents with every block elsewhere in the cache."""
    order = torch.randperm(len(inputs.key_cache), generator=torch.Generator().manual_seed(seed))
    return replace(
        inputs,
        key_cache=inputs.key_cache[order],
        value_cache=inputs.value_cache[order],
        block_table=order.argsort().int()[inputs.block_table.long()],
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_keeps_the_contract(case, dtype):
    inputs = case.make_inputs(dtype)
    output = run(inputs)
    assert output.dtype == dtype
    TOLERANCES[dtype].check(output, expected(inputs))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["mixed", "odd_width", "one_kv_head", "everything"])
def test_row_has_the_same_bits_alone_and_among_neighbours_in_any_order(name, dtype):
    (case,) = (case for case in CASES if case.name == name)
    case = replace(case, rows=tuple((1, 1 + 7 * n % 150) for n in range(32)) + case.rows)
    check_rows_are_independent(case.make_inputs(dtype))


def test_row_has_the_same_bits_alone_and_among_neighbours_on_two_threads():
    torch.set_num_threads(2)
    (case,) = (case for case in CASES if case.name == "mixed")
    check_rows_are_independent(case.make_inputs(torch.float32))


def check_rows_are_independent(inputs):
    slices, output = row_slices(inputs), run(inputs)
    order = torch.randperm(len(slices), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = take_rows(move_blocks(inputs, seed=2), order)
    shuffled_output = run(shuffled)
    for row, tokens in enumerate(slices):
        alone = run(take_rows(inputs, [row]))
        assert torch.equal(alone, output[tokens])
        assert torch.equal(alone, shuffled_output[row_slices(shuffled)[order.index(row)]])


def in_chunks(inputs, chunk):
    """A prefill of one row from position 0, computed in chunks."""
    pieces = []
    for start in range(0, len(inputs.query), chunk):
        query = inputs.query[start : start + chunk]
        step = replace(
            inputs,
            query=query,
            cu_seqlens_q=torch.tensor([0, len(query)], dtype=torch.int32),
            seq_lens=torch.tensor([start + len(query)], dtype=torch.int32),
        )
        pieces.append(run(step))
    return torch.cat(pieces)


@pytest.mark.parametrize("sliding_window", [None, 50])
@pytest.mark.parametrize("chunk", [1, 7, 64, 128])
def test_chunked_prefill_gives_what_one_piece_gives(chunk, sliding_window):
    case = PagedAttentionCase(name="long", rows=((300, 300),), sliding_window=sliding_window)
    inputs = case.make_inputs(torch.float32)
    whole, chunked = run(inputs), in_chunks(inputs, chunk)
    Tolerance(2e-6, 1e-5).check(chunked, whole)
    if chunk % 64 == 0:
        assert torch.equal(chunked, whole)


@pytest.mark.parametrize("num_cached", [16, 63, 128])
def test_tokens_have_the_same_bits_from_the_next_tile_on_after_a_cached_prefix(num_cached):
    case = PagedAttentionCase(name="long", rows=((300, 300),), key_dim=128, value_dim=128)
    inputs = case.make_inputs(torch.float32)
    num_new = 300 - num_cached
    query = inputs.query[num_cached:].clone()
    cu_seqlens_q = torch.tensor([0, num_new], dtype=torch.int32)
    output = run(replace(inputs, query=query, cu_seqlens_q=cu_seqlens_q))
    tile = -(-num_cached // 64) * 64
    assert torch.equal(output[tile - num_cached :], run(inputs)[tile:])


def test_queries_are_cut_at_multiples_of_the_tile_wherever_they_start():
    assert list(_tiles(0, 64)) == [(0, 64)]
    assert list(_tiles(16, 150)) == [(16, 64), (64, 128), (128, 150)]
    assert list(_tiles(63, 65)) == [(63, 64), (64, 65)]
    assert list(_tiles(70, 70)) == []


def test_nothing_is_modified():
    inputs = CASES[-2].make_inputs(torch.float32)
    before = {k: v.clone() for k, v in arguments(inputs).items() if isinstance(v, torch.Tensor)}
    run(inputs)
    for name, tensor in before.items():
        torch.testing.assert_close(getattr(inputs, name), tensor, equal_nan=True, atol=0, rtol=0)


def test_blocks_before_the_window_are_not_read():
    case = PagedAttentionCase(name="freed", rows=((1, 200), (5, 90)), sliding_window=20)
    inputs = case.make_inputs(torch.float32)
    output = run(inputs)
    freed = inputs.block_table.clone()
    freed[0, : (200 - 20) // 16] = 2**31 - 1
    freed[1, : (85 - 19) // 16] = 2**31 - 1
    freed[:, 13:] = -1
    assert torch.equal(run(replace(inputs, block_table=freed)), output)


def test_row_without_new_tokens_is_not_read():
    inputs = CASES[3].make_inputs(torch.float32)
    (row,) = torch.nonzero(inputs.cu_seqlens_q.diff() == 0).flatten().tolist()
    block_table = inputs.block_table.clone()
    block_table[row] = -1
    assert torch.equal(run(replace(inputs, block_table=block_table)), run(inputs))


def test_padding_tokens_do_not_disturb_the_others():
    inputs = CASES[3].make_inputs(torch.float32)
    padding = torch.full((5, *inputs.query.shape[1:]), float("nan"))
    padded = run(replace(inputs, query=torch.cat([inputs.query, padding])))
    assert torch.equal(padded[:-5], run(inputs))


def test_step_without_rows_is_empty():
    inputs = PagedAttentionCase(name="empty", rows=()).make_inputs(torch.float32)
    assert run(inputs).shape == (0, 4, 16)


def dense(inputs):
    """One prefilled row as [1, heads, tokens, width] and its additive causal mask."""
    keys, values = row_tokens(inputs, 0)
    states = [t.transpose(0, 1)[None].float() for t in (inputs.query, keys, values)]
    num_tokens = len(inputs.query)
    mask = torch.full((num_tokens, num_tokens), float("-inf")).triu(1)
    if inputs.sliding_window is not None:
        mask += torch.full_like(mask, float("-inf")).tril(-inputs.sliding_window)
    return (*states, mask)


def test_sinks_and_window_are_those_of_gpt_oss():
    from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward

    case = PagedAttentionCase(name="x", rows=((70, 70),), has_sinks=True, sliding_window=9)
    inputs = case.make_inputs(torch.float32)
    module = SimpleNamespace(num_key_value_groups=2, sinks=inputs.sinks, training=False)
    theirs, _ = eager_attention_forward(module, *dense(inputs), scaling=inputs.scale)
    TOLERANCES[torch.float32].check(run(inputs), theirs[0])


def test_softcap_is_that_of_gemma_2():
    from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

    inputs = PagedAttentionCase(name="x", rows=((70, 70),), softcap=1.5).make_inputs(torch.float32)
    module = SimpleNamespace(num_key_value_groups=2, training=False)
    theirs, _ = eager_attention_forward(
        module, *dense(inputs), scaling=inputs.scale, softcap=inputs.softcap
    )
    TOLERANCES[torch.float32].check(run(inputs), theirs[0])
