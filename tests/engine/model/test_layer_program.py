"""All layers in one call: where it is used, and that it computes what the layers compute."""

from pathlib import Path

import pytest
import torch

from engine.model import packed, panels
from engine.model.decoder import FusedDecoder
from engine.model.layer_program import is_possible
from engine.model.load import LoadedModel
from engine.model.packed import pack_linear_layers
from tests.engine.tiny_engine import load_tiny, make_request, tiny_engine

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not panels.are_compiled(CPU), reason="no compiled kernels")


def decoder_of(loaded: LoadedModel) -> FusedDecoder:
    decoder = getattr(loaded.module, loaded.module.base_model_prefix)
    assert isinstance(decoder, FusedDecoder)
    return decoder


def tokens(loaded: LoadedModel) -> dict[str, list[int]]:
    requests = [make_request(f"r{i}", list(range(3, 6 + 9 * i)), 12) for i in range(4)]
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        return engine.run(requests)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "phi3", "mistral"])
def test_it_computes_what_the_layers_compute(
    family: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_by_one = load_tiny(family, checkpoints)
    expected = tokens(one_by_one)
    assert decoder_of(one_by_one)._program._layers is None  # type: ignore[union-attr]
    together = load_tiny(family, checkpoints)
    pack_linear_layers(together.module)
    assert is_possible(decoder_of(together).parts)
    assert tokens(together) == expected
    assert decoder_of(together)._program._layers is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("quantization", ["int8", None])
def test_mixtures_and_large_exact_weights_keep_their_layers(
    quantization: str | None, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = load_tiny("qwen3_moe", checkpoints, quantization=quantization)
    pack_linear_layers(mixture.module)
    assert not is_possible(decoder_of(mixture).parts)
    monkeypatch.setattr(panels, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1)
    exact = load_tiny("llama", checkpoints)
    pack_linear_layers(exact.module)
    assert not is_possible(decoder_of(exact).parts)
    assert len(tokens(exact)) == 4


def test_quantised_weights_are_computed_together(checkpoints: Path) -> None:
    loaded = load_tiny("qwen3", checkpoints, quantization="int8")
    assert is_possible(decoder_of(loaded).parts)
    assert len(tokens(loaded)) == 4
    assert decoder_of(loaded)._program._layers is not None  # type: ignore[union-attr]


def test_half_precision_that_is_not_compiled_keeps_its_layers(checkpoints: Path) -> None:
    loaded = load_tiny("qwen3", checkpoints, dtype="float16", quantization="int8")
    assert is_possible(decoder_of(loaded).parts)
    assert len(tokens(loaded)) == 4
    assert decoder_of(loaded)._program._layers is None  # type: ignore[union-attr]


def test_without_compiled_kernels_layers_follow_each_other(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("qwen3", checkpoints, quantization="int8")
    monkeypatch.setattr("engine.model.layer_program.instruction_set", lambda: "reference")
    assert not is_possible(decoder_of(loaded).parts)
