import pytest
import torch

from kernels.float8 import FLOAT8, LARGEST, as_stored

NAN = float("nan")


def number(code: int) -> float:
    """What one byte stands for: sign, four bits of exponent with bias 7, three of mantissa."""
    sign, exponent, mantissa = code >> 7, code >> 3 & 15, code & 7
    if code & 127 == 127:
        return NAN
    size = mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10)
    return -size if sign else size


def nearest(numbers: torch.Tensor) -> torch.Tensor:
    """The positive codes nearest to these positive numbers; of two, the even one."""
    codes = torch.tensor([number(code) for code in range(127)], dtype=torch.float64)
    distances = (numbers.double()[:, None] - codes).abs()
    is_odd = torch.arange(127) % 2
    return (distances * 2**30 + is_odd * (distances == distances.amin(1, keepdim=True))).argmin(1)


def test_largest_number():
    assert number(0x7E) == LARGEST == 448


def test_every_bfloat16_becomes_the_nearest_number_with_ties_to_even():
    patterns = torch.arange(0x7F82, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    stored = as_stored(patterns, FLOAT8).view(torch.uint8)
    assert torch.equal(stored[:-1].long(), nearest(patterns[:-1].float().clamp(max=LARGEST)))
    assert stored[-1] & 127 == 127
    negative = as_stored(-patterns, FLOAT8).view(torch.uint8)
    assert torch.equal(negative[:-1], stored[:-1] | 128)
    assert negative[-1] & 127 == 127


@pytest.mark.parametrize("code", [0, 1, 7, 8, 0x3F, 0x7D])
def test_a_float32_between_two_numbers_is_rounded_once(code):
    middle = (number(code) + number(code + 1)) / 2
    around = torch.tensor([middle])
    inputs = torch.cat([torch.nextafter(around, torch.tensor(0.0)), around])
    inputs = torch.cat([inputs, torch.nextafter(around, torch.tensor(1e9))])
    stored = as_stored(inputs, FLOAT8).view(torch.uint8).tolist()
    assert stored == [code, code + code % 2, code + 1]


def test_other_dtypes_are_plain_conversions():
    numbers = torch.tensor([1e6, -1e-6, NAN])
    assert torch.equal(as_stored(numbers, torch.bfloat16)[:2], numbers.bfloat16()[:2])
    assert as_stored(numbers, torch.float32) is numbers
