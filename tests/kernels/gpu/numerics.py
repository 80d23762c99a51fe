"""Every case of every Triton kernel against its reference: in the interpreter, or on a device.

Run by `test_interpreter.py` with TRITON_INTERPRET set, which must be before triton is imported.
float32 and float16 there: the interpreter's products of bfloat16 are wrong.
"""

import inspect
from dataclasses import replace

import pytest
import torch

from kernels.activation import gpu as activation_gpu
from kernels.activation import reference as activation
from kernels.activation.cases import CASES as ACTIVATION_CASES
from kernels.grouped_linear import gpu as grouped_linear_gpu
from kernels.grouped_linear import reference as grouped_linear
from kernels.grouped_linear.cases import CASES as GROUPED_CASES
from kernels.grouped_linear.cases import TOLERANCES as GROUPED_TOLERANCES
from kernels.kv_cache import gpu as kv_cache_gpu
from kernels.kv_cache import reference as kv_cache
from kernels.kv_cache.cases import CASES as KV_CACHE_CASES
from kernels.paged_attention import gpu as paged_attention_gpu
from kernels.paged_attention import gpu_decode
from kernels.paged_attention import reference as paged_attention
from kernels.paged_attention.cases import CASES as ATTENTION_CASES
from kernels.paged_attention.cases import (
    MATRIX_TOLERANCES,
    PagedAttentionCase,
    SharedText,
    share_blocks,
    unshare_blocks,
)
from kernels.paged_attention.gpu_walk import walk
from kernels.rms_norm import gpu as rms_norm_gpu
from kernels.rms_norm import reference as rms_norm
from kernels.rms_norm.cases import CASES as NORM_CASES
from kernels.rope import gpu as rope_gpu
from kernels.rope import reference as rope
from kernels.rope.cases import CASES as ROPE_CASES
from kernels.tolerance import ELEMENTWISE
from tests.kernels.arguments import arguments

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)


HALF = ("mixed", "everything", "float8", "float8_everything")


def by_name(case):
    return case.name


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, torch.float32) for case in ATTENTION_CASES if case.name != "real_heads"]
    + [(case, torch.float16) for case in ATTENTION_CASES if case.name in HALF],
    ids=str,
)
def test_paged_attention(case, dtype):
    inputs = arguments(case.make_inputs(dtype))
    found = paged_attention_gpu.paged_attention(**inputs)
    wide = {
        name: value.float()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for name, value in inputs.items()
    }
    assert found.dtype == dtype
    MATRIX_TOLERANCES[dtype].check(found, paged_attention.paged_attention(**wide))


@DTYPES
@pytest.mark.parametrize("name", ["mixed", "float8"])
def test_a_rows_attention_does_not_depend_on_its_neighbours(name, dtype):
    attend = paged_attention_gpu.paged_attention
    case = next(case for case in ATTENTION_CASES if case.name == name)
    inputs = arguments(case.make_inputs(dtype))
    together = attend(**inputs)
    bounds = inputs["cu_seqlens_q"].tolist()
    for row, (num_new, _) in enumerate(case.rows):
        alone = attend(
            **{
                **inputs,
                "query": inputs["query"][bounds[row] : bounds[row + 1]],
                "block_table": inputs["block_table"][row : row + 1],
                "seq_lens": inputs["seq_lens"][row : row + 1],
                "cu_seqlens_q": torch.tensor([0, num_new], dtype=torch.int32),
            }
        )
        assert torch.equal(alone, together[bounds[row] : bounds[row + 1]])


# (lengths of rows that decode, text in common, walks over splits: shared and with copies, options)
SHARED = {
    "all": ((1024, 1500, 1030, 1100), ((0, 1, 2, 3), 0, 1024), (2 + 3, 2 * 4 + 3), {}),
    "one_is_too_short": ((1500, 1000, 1100), ((0, 1, 2), 0, 1024), (2 + 1 + 2, 3 * 2 + 2), {}),
    "some": ((600, 600, 600, 600, 600), ((0, 2, 3), 0, 512), (3 + 5, 10), {}),
    "part_of_a_split": ((600, 600), ((0, 1), 0, 500), (4, 4), {}),
    "beyond_a_tile": ((600,) * 9, ((*range(9),), 0, 512), (2 + 9, 18), {}),
    "block_1": ((600, 600), ((0, 1), 0, 512), (3, 4), {"block_size": 1}),
    "block_24": ((600, 600), ((0, 1), 0, 600), (4, 4), {"block_size": 24}),
    "other_chunks": ((600, 600, 600), ((0, 2), 0, 600), (3, 4), {"num_new": (1, 5, 1)}),
    "window_wider": ((600, 600), ((0, 1), 0, 512), (3, 4), {"sliding_window": 4096}),
    # The second row does not see the first 300 tokens.
    "window": ((1024, 1500, 1030), ((0, 1, 2), 0, 1024), (2 + 1 + 2, 8), {"sliding_window": 1200}),
}


@DTYPES
@pytest.mark.parametrize("name", SHARED)
def test_a_shared_split_is_read_once_and_gives_the_same_bits(name, dtype, monkeypatch):
    lengths, text, num_walks, options = SHARED[name]
    num_new = options.get("num_new", (1,) * len(lengths))
    shape = {key: value for key, value in options.items() if key != "num_new"}
    case = PagedAttentionCase(name=name, rows=tuple(zip(num_new, lengths, strict=True)), **shape)
    together = share_blocks(case.make_inputs(dtype), [SharedText(*text)])
    walks = []

    def counted(*args):
        walks.append(args)
        return walk(*args)

    monkeypatch.setattr(gpu_decode, "walk", counted)
    found = paged_attention_gpu.paged_attention(**arguments(together))
    num_together = len(walks)
    copies = paged_attention_gpu.paged_attention(**arguments(unshare_blocks(together)))
    assert torch.equal(found, copies)
    MATRIX_TOLERANCES[dtype].check(found, paged_attention.paged_attention(**arguments(together)))
    assert (num_together, len(walks) - num_together) == tuple(
        n * case.num_kv_heads for n in num_walks
    )


@DTYPES
@pytest.mark.parametrize("case", NORM_CASES, ids=by_name)
def test_rms_norm(case, dtype):
    ours, theirs = (arguments(case.make_inputs(dtype)) for _ in range(2))
    found = rms_norm_gpu.rms_norm(**ours)
    ELEMENTWISE[dtype].check(found, rms_norm.rms_norm(**theirs))
    if case.has_residual:
        assert torch.equal(ours["residual"], theirs["residual"])


@DTYPES
@pytest.mark.parametrize("case", ROPE_CASES, ids=by_name)
def test_rope(case, dtype):
    inputs = arguments(case.make_inputs(dtype))
    pairs = zip(rope_gpu.rope(**inputs), rope.rope(**inputs), strict=True)
    for found, expected in pairs:
        ELEMENTWISE[dtype].check(found, expected)


@DTYPES
def test_rope_takes_heads_within_a_merged_projection(dtype):
    merged = torch.randn(5, 4 * 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    query, key = merged.view(5, 4, 16)[:, :3], merged.view(5, 4, 16)[:, 3:]
    angles = torch.rand(5, 16, generator=torch.Generator().manual_seed(2))
    inputs = (query, key, angles.cos().to(dtype), angles.sin().to(dtype))
    found, expected = rope_gpu.rope(*inputs), rope.rope(*inputs)
    for ours, theirs in zip(found, expected, strict=True):
        ELEMENTWISE[dtype].check(ours, theirs)


@DTYPES
@pytest.mark.parametrize("name", ["silu_mul", "gelu_mul", "gelu_mul_none"])
@pytest.mark.parametrize("case", ACTIVATION_CASES, ids=by_name)
def test_gated_activation(case, name, dtype):
    inputs = arguments(case.make_inputs(dtype))
    options = {"approximate": "none"} if name.endswith("_none") else {}
    function = name.removesuffix("_none")
    found = getattr(activation_gpu, function)(**inputs, **options)
    # Both take 1 + tanh or 1 + erf near 0 for large negative gates: the error grows with the gate.
    bound = replace(ELEMENTWISE[dtype], absolute=1e-6 * case.scale**2)
    bound.check(found, getattr(activation, function)(**inputs, **options))


@DTYPES
@pytest.mark.parametrize("case", KV_CACHE_CASES, ids=by_name)
def test_write_kv(case, dtype):
    ours, theirs = (arguments(case.make_inputs(dtype)) for _ in range(2))
    kv_cache_gpu.write_kv(**ours)
    kv_cache.write_kv(**theirs)
    for name in ("key_cache", "value_cache"):
        found, expected = ours[name].float(), theirs[name].float()
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(found.signbit() | found.isnan(), expected.signbit() | expected.isnan())


@pytest.mark.parametrize(
    ("ours", "reference", "name"),
    [
        (activation_gpu, activation, "silu_mul"),
        (activation_gpu, activation, "gelu_mul"),
        (kv_cache_gpu, kv_cache, "write_kv"),
        (paged_attention_gpu, paged_attention, "paged_attention"),
        (rms_norm_gpu, rms_norm, "rms_norm"),
        (rope_gpu, rope, "rope"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_signatures_are_the_contracts(ours, reference, name):
    assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(reference, name))


@DTYPES
@pytest.mark.parametrize("case", GROUPED_CASES, ids=by_name)
def test_grouped_linear(case, dtype):
    inputs = arguments(case.make_inputs(dtype))
    found = grouped_linear_gpu.grouped_linear(**inputs)
    assert found.dtype == dtype
    wide = {
        name: value.float() if value is not None and value.is_floating_point() else value
        for name, value in inputs.items()
    }
    GROUPED_TOLERANCES[dtype].check(found, grouped_linear.grouped_linear(**wide))


@pytest.mark.parametrize("tile", grouped_linear_gpu._TILES, ids=lambda tile: f"to_{tile[0]}")
def test_every_tile_of_grouped_linear(tile, monkeypatch):
    monkeypatch.setattr(grouped_linear_gpu, "_TILES", ((None, *tile[1:]),))
    for case in GROUPED_CASES:
        test_grouped_linear(case, torch.float16)


def test_other_layouts_of_weights_are_refused():
    weight = torch.ones(2, 4, 4, 2)[..., 0]
    with pytest.raises(ValueError, match="neither dimension"):
        grouped_linear_gpu.grouped_linear(
            torch.ones(2, 4), weight, torch.tensor([1, 2], dtype=torch.int32)
        )
