"""The compiled norm, rotary embedding, activations and KV write, on each instruction set."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from kernels.activation import cases as activation
from kernels.kv_cache import cases as kv_cache
from kernels.registry import resolve
from kernels.rms_norm import cases as rms_norm
from kernels.rope import cases as rope
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments

MODULES = {
    "silu_mul": activation,
    "gelu_mul": activation,
    "rms_norm": rms_norm,
    "rope": rope,
    "write_kv": kv_cache,
}
CASES = [(op, case) for op, module in MODULES.items() for case in module.CASES if op != "write_kv"]


def reference(op):
    package = MODULES[op].__name__.removesuffix(".cases")
    return getattr(import_module(f"{package}.reference"), op)


def fast(op):
    return resolve(op, "cpu")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("op", "case"), CASES, ids=[f"{op}-{case.name}" for op, case in CASES])
def test_it_agrees_with_the_reference(compiled, op, case, dtype):
    ours, theirs = case.make_inputs(dtype), case.make_inputs(dtype)
    outputs, expected = fast(op)(**arguments(ours)), reference(op)(**arguments(theirs))
    if isinstance(outputs, torch.Tensor):
        outputs, expected = (outputs,), (expected,)
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.dtype == dtype
        assert output.is_contiguous()
        MODULES[op].TOLERANCES[dtype].check(output, wanted)
    for name, tensor in arguments(theirs).items():  # the residual is changed alike, all else kept
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(getattr(ours, name), tensor)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_has_both_forms(compiled, approximate):
    inputs = activation.CASES[2].make_inputs(torch.float32)
    output = fast("gelu_mul")(inputs.gate, inputs.up, approximate=approximate)
    expected = reference("gelu_mul")(inputs.gate, inputs.up, approximate=approximate)
    activation.TOLERANCES[torch.float32].check(output, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_row_has_the_same_bits_alone_and_among_others(compiled, dtype):
    torch.set_num_threads(2)
    norm = rms_norm.RMSNormCase(name="x", shape=(60, 1000)).make_inputs(dtype)
    gated = activation.GatedActivationCase(name="x", num_tokens=60, width=1001).make_inputs(dtype)
    turned = rope.RopeCase(name="x", num_tokens=60, num_heads=8, head_dim=80).make_inputs(dtype)
    normed, active = fast("rms_norm")(**arguments(norm)), fast("silu_mul")(**arguments(gated))
    query, key = fast("rope")(**arguments(turned))
    for row in range(60):
        one = slice(row, row + 1)
        assert torch.equal(fast("rms_norm")(norm.x[one], norm.weight, norm.eps), normed[one])
        assert torch.equal(fast("silu_mul")(gated.gate[one], gated.up[one]), active[one])
        parts = (turned.query, turned.key, turned.cos, turned.sin)
        lone_query, lone_key = fast("rope")(*(part[one] for part in parts))
        assert torch.equal(lone_query, query[one])
        assert torch.equal(lone_key, key[one])


def test_heads_inside_of_a_merged_projection_are_read_in_place(compiled):
    merged = torch.randn(33, 4 * 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    query, key = merged[:, :64].view(33, 2, 32), merged[:, 64:96].view(33, 1, 32)
    weight = torch.rand(32).bfloat16()
    norm = fast("rms_norm")
    assert torch.equal(norm(query, weight, 1e-6), norm(query.contiguous(), weight, 1e-6))
    angles = rope.RopeCase(name="x", num_tokens=33, head_dim=32).make_inputs(torch.bfloat16)
    turned = fast("rope")(query, key, angles.cos, angles.sin)
    expected = fast("rope")(query.contiguous(), key.contiguous(), angles.cos, angles.sin)
    assert all(map(torch.equal, turned, expected))


def test_angles_may_be_wider_than_the_heads(compiled):
    inputs = rope.CASES[2].make_inputs(torch.bfloat16)
    angles = rope.CASES[2].make_inputs(torch.float32)
    parts = (inputs.query, inputs.key, angles.cos, angles.sin)
    for ours, theirs in zip(fast("rope")(*parts), reference("rope")(*parts), strict=True):
        rope.TOLERANCES[torch.bfloat16].check(ours, theirs)


@pytest.mark.parametrize("cache_dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", kv_cache.CASES, ids=lambda case: case.name)
def test_write_kv_writes_what_the_reference_writes(compiled, case, dtype, cache_dtype):
    case = replace(case, cache_dtype=case.cache_dtype or cache_dtype)
    ours, theirs = case.make_inputs(dtype), case.make_inputs(dtype)
    fast("write_kv")(**arguments(ours))
    reference("write_kv")(**arguments(theirs))
    assert_same(ours.key_cache, theirs.key_cache)
    assert_same(ours.value_cache, theirs.value_cache)


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_number_is_rounded_to_8_bits_as_the_reference_rounds_it(compiled, dtype):
    patterns = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    if dtype == torch.float32:
        generator = torch.Generator().manual_seed(0)
        patterns = torch.randint(-(2**31), 2**31, (2**16,), generator=generator).int()
    key = patterns.view(dtype).view(64, 2, 512)
    value = key[..., :509]
    found, expected = [
        [torch.zeros(64, 1, *x.shape[1:], dtype=torch.float8_e4m3fn) for x in (key, value)]
        for _ in range(2)
    ]
    fast("write_kv")(key, value, *found, torch.arange(64))
    reference("write_kv")(key, value, *expected, torch.arange(64))
    for ours, theirs in zip(found, expected, strict=True):
        is_nan = theirs.isnan()
        assert torch.equal(ours.isnan(), is_nan)
        same = ours.view(torch.uint8) == theirs.view(torch.uint8)
        assert bool((same | is_nan).all())


def test_write_kv_reads_transposed_heads(compiled):
    inputs = kv_cache.CASES[2].make_inputs(torch.bfloat16)
    expected = inputs.key_cache.clone(), inputs.value_cache.clone()
    reference("write_kv")(inputs.key, inputs.value, *expected, inputs.slot_mapping)
    key, value = (
        x.transpose(0, 1).contiguous().transpose(0, 1) for x in (inputs.key, inputs.value)
    )
    fast("write_kv")(key, value, inputs.key_cache, inputs.value_cache, inputs.slot_mapping)
    assert_same(inputs.key_cache, expected[0])
    assert_same(inputs.value_cache, expected[1])


def test_slot_outside_of_the_cache_is_refused_and_nothing_written(compiled):
    inputs = kv_cache.CASES[2].make_inputs(torch.float32)
    inputs.slot_mapping[50] = inputs.key_cache.shape[0] * inputs.key_cache.shape[1]
    with pytest.raises(IndexError, match="write_kv"):
        fast("write_kv")(**arguments(inputs))
    assert inputs.key_cache.isnan().all()


def test_shapes_that_do_not_fit_together_are_refused(compiled):
    x, weight = torch.ones(3, 8), torch.ones(8)
    heads, angles = torch.ones(3, 2, 8), torch.ones(3, 8)
    cache, slots = torch.zeros(4, 4, 2, 8), torch.arange(3)
    for op, bad in (
        ("rms_norm", (x, weight[:7], 1e-6)),
        ("rms_norm", (x, weight, 1e-6, x[:2])),
        ("silu_mul", (x, x[:2])),
        ("gelu_mul", (x, x[:, :2])),
        ("rope", (heads, heads, angles[:2], angles[:2])),
        ("rope", (heads, heads, angles[:, :7], angles[:, :7])),
        ("write_kv", (heads, heads, cache, cache, slots[:2])),
        ("write_kv", (heads, heads, cache[..., :7], cache, slots)),
        ("write_kv", (heads, heads, cache, cache, slots.int())),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            fast(op)(*bad)
