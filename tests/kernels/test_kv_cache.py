import pytest
import torch

from kernels.float8 import FLOAT8, as_stored
from kernels.kv_cache.cases import CASES, WriteKVCase
from kernels.kv_cache.reference import write_kv
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_token_lands_in_its_slot_and_nothing_else_changes(case, dtype):
    inputs = case.make_inputs(dtype)
    slots = inputs.slot_mapping.tolist()
    expected = []
    for new, cache in ((inputs.key, inputs.key_cache), (inputs.value, inputs.value_cache)):
        assert cache.isnan().all()
        slot_values = cache.clone().flatten(0, 1)
        for token, slot in enumerate(slots):
            if slot >= 0:
                slot_values[slot] = as_stored(new[token], cache.dtype)
        expected.append(slot_values.view(cache.shape))
    write_kv(**arguments(inputs))
    for cache, values in zip((inputs.key_cache, inputs.value_cache), expected, strict=True):
        torch.testing.assert_close(cache, values, atol=0, rtol=0, equal_nan=True)


def test_only_padding_writes_nothing():
    inputs = WriteKVCase(name="x", num_tokens=3).make_inputs(torch.float32)
    inputs.slot_mapping.copy_(torch.tensor([-1, -7, -(2**40)]))
    write_kv(**arguments(inputs))
    assert inputs.key_cache.isnan().all()
    assert inputs.value_cache.isnan().all()


def test_values_are_converted_to_the_dtype_of_the_cache():
    case = WriteKVCase(name="x", num_tokens=5, cache_dtype=torch.bfloat16)
    inputs = case.make_inputs(torch.float32)
    write_kv(**arguments(inputs))
    written = inputs.key_cache.flatten(0, 1)[inputs.slot_mapping]
    assert torch.equal(written, inputs.key.bfloat16())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_float8_cache_holds_what_is_too_large_as_its_largest_number_and_nan_as_nan(dtype):
    case = WriteKVCase(name="x", num_tokens=8, key_dim=1, cache_dtype=FLOAT8, num_kv_heads=1)
    inputs = case.make_inputs(dtype)
    given = [447.0, 449.0, 480.0, 6e4, -500.0, float("inf"), float("-inf"), float("nan")]
    inputs.key[:, 0, 0] = torch.tensor(given)
    write_kv(**arguments(inputs))
    written = inputs.key_cache.flatten(0, 1)[inputs.slot_mapping].float().flatten()
    assert written[:7].tolist() == [448, 448, 448, 448, -448, 448, -448]
    assert written[7].isnan()


def test_cache_may_be_a_view_into_a_larger_tensor():
    inputs = WriteKVCase(name="x", num_tokens=20).make_inputs(torch.float32)
    both = torch.full((12, 16, 2, 2, 16), float("nan"))  # keys and values side by side
    write_kv(inputs.key, inputs.value, both[:, :, 0], both[:, :, 1], inputs.slot_mapping)
    assert torch.equal(both.flatten(0, 1)[inputs.slot_mapping, 0], inputs.key)
    assert torch.equal(both.flatten(0, 1)[inputs.slot_mapping, 1], inputs.value)
    assert int((~both.isnan()).sum()) == 2 * inputs.key.numel()
