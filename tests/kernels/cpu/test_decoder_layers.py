"""The layers of a decoder in one compiled call, on each instruction set."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from kernels.cpu_library import multiplies_int8, multiplies_tiles, use_invariant_attention
from kernels.decoder_layers.cases import CASES, DecoderCase, Step, tolerance_of, with_own_caches
from kernels.decoder_layers.layer import DecoderLayer, StepTables
from kernels.decoder_layers.reference import decoder_layers as reference
from kernels.registry import resolve

_BY_NAME = {case.name: case for case in CASES}


def compiled_layers(layers: list[DecoderLayer], case: DecoderCase):
    made = resolve("decoder_layers", "cpu")(layers, num_heads=case.num_heads)
    is_served = {"tiles": multiplies_tiles(), "rounded": multiplies_int8()}
    assert made.is_compiled == is_served.get(case.weights, True)
    return made


def run(layers, step: Step) -> Tensor:
    x = step.x.clone()
    update = layers(x, step.cos, step.sin, step.tables)
    assert update.dtype == x.dtype
    return x + update


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_agrees_with_the_reference(compiled: str, case: DecoderCase, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    layers = case.make_layers()
    others = with_own_caches(layers)
    fast = compiled_layers(layers, case)
    slow = reference(others, num_heads=case.num_heads)
    tolerance = tolerance_of(case)
    for step in case.make_steps():
        tolerance.check(run(fast, step), run(slow, step))
    for ours, theirs in zip(layers, others, strict=True):
        for made, expected in (
            (ours.key_cache, theirs.key_cache),
            (ours.value_cache, theirs.value_cache),
        ):
            assert bool((made.float() != 0).any())
            if not case.has_float8_cache:
                tolerance.check(made, expected)


@pytest.mark.parametrize("name", ["float32", "head_norms", "half_in_panels", "tiles", "rounded"])
def test_token_has_the_same_bits_in_any_company(compiled: str, name: str) -> None:
    """However its prompt is cut, whatever row stands beside it, on any number of threads."""
    case = replace(_BY_NAME[name], steps=((61, 70),))
    if (case.weights == "tiles" and not multiplies_tiles()) or (
        case.weights == "rounded" and not multiplies_int8()
    ):
        pytest.skip("the reference multiplies, whose bits depend on the rows")
    use_invariant_attention()
    torch.set_num_threads(2)
    (step,) = case.make_steps()
    together = run(compiled_layers(case.make_layers(), case), step)
    torch.set_num_threads(1)
    apart = compiled_layers(case.make_layers(), case)
    shuffle = random.Random(3)
    for row, (first, last) in enumerate(((0, 61), (61, 131))):
        places = list(range(1, last - first))
        bounds = [0, *sorted(shuffle.sample(places, 5)), last - first]
        for begin, end in pairwise(bounds):
            tokens = slice(first + begin, first + end)
            tables = StepTables(
                step.tables.block_table[row : row + 1],
                torch.tensor([0, end - begin], dtype=torch.int32),
                torch.tensor([end], dtype=torch.int32),
                step.tables.slot_mapping[tokens].contiguous(),
            )
            part = Step(step.x[tokens], step.cos[tokens], step.sin[tokens], tables)
            assert torch.equal(run(apart, part), together[tokens])


def test_no_tokens_are_no_work(compiled: str) -> None:
    case = _BY_NAME["float32"]
    layers = compiled_layers(case.make_layers(), case)
    tables = StepTables(
        torch.zeros(0, 4, dtype=torch.int32),
        torch.zeros(1, dtype=torch.int32),
        torch.zeros(0, dtype=torch.int32),
        torch.zeros(0, dtype=torch.int64),
    )
    empty = torch.zeros(0, 128)
    assert layers(empty, torch.zeros(0, 32), torch.zeros(0, 32), tables).shape == (0, 128)


@pytest.mark.parametrize("wrong", ["slot", "block"])
def test_what_leaves_the_cache_is_refused(compiled: str, wrong: str) -> None:
    case = _BY_NAME["float32"]
    layers = compiled_layers(case.make_layers(), case)
    step = next(case.make_steps())
    if wrong == "slot":
        step.tables.slot_mapping[3] = 160
    else:
        step.tables.block_table[1, 2] = 40
    with pytest.raises(IndexError, match="decoder_layers"):
        run(layers, step)
    assert run(layers, next(case.make_steps())).isfinite().all(), "the threads work on"


def test_what_is_not_alike_is_the_references_matter(compiled: str) -> None:
    case = _BY_NAME["float32"]
    layers = case.make_layers()
    layers[1] = replace(layers[1], down=case.make_layers()[0].down)
    assert compiled_layers(layers, case)
    narrower = replace(case, inner=64).make_layers()
    made = resolve("decoder_layers", "cpu")([layers[0], narrower[1]], num_heads=4)
    assert not made.is_compiled
    half = replace(layers[0], key_cache=layers[0].key_cache.half())
    made = resolve("decoder_layers", "cpu")([half], num_heads=4)
    assert not made.is_compiled
