"""Which layers get int8 weights, what becomes of the others, and of the float weights."""

import logging
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.errors import ModelRefusedError
from engine.model import panels, quantize
from engine.model.experts import Experts, PanelProduct
from engine.model.invariant import make_invariant
from engine.model.load import load_model
from engine.model.panels import PanelLayer
from engine.model.quantize import check_quantization
from kernels.panel_linear import reference
from kernels.panel_linear.weight import PanelWeights
from tests.engine.tiny_engine import load_tiny
from tests.engine.tiny_models import FAMILIES, save_tiny_model, tiny_model

CPU = torch.device("cpu")


def quantized_names(module: nn.Module) -> set[str]:
    return {n for n, child in module.named_modules() if isinstance(child, PanelLayer)}


def linear_names(module: nn.Module) -> set[str]:
    return {n for n, child in module.named_modules() if isinstance(child, nn.Linear)}


def expert_names(module: nn.Module) -> set[str]:
    """The parameters of experts, with their biases."""
    return {name for name, _ in module.named_parameters() if ".experts." in name}


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"gpt2"}))
def x(family: str, checkpoints: Path) -> None:
    loaded = load_tiny(family, checkpoints, is_replaced=False, quantization="int8")
    model = tiny_model(family)
    linears = {name for name in linear_names(model) if not name.endswith("shared_expert_gate")}
    assert quantized_names(loaded.module) == linears
    assert linear_names(loaded.module) == linear_names(model) - linears
    rounded = {f"{name}.weight" for name in linears} | expert_names(model)
    floats = {n: p for n, p in model.named_parameters() if n not in rounded}
    kept = dict(loaded.module.named_parameters())
    assert kept.keys() == floats.keys()
    assert all(torch.equal(kept[name], floats[name]) for name in floats)
    for name in quantized_names(loaded.module):
        weights = loaded.module.get_submodule(name).panel_weights
        assert torch.equal(weights.scales[0], model.get_submodule(name).weight.abs().amax(1) / 127)


def test_each_expert_has_its_own_panel_weightss(checkpoints: Path) -> None:
    for family, is_transposed in (("qwen3_moe", False), ("gpt_oss", True)):
        loaded = load_tiny(family, checkpoints, is_replaced=False, quantization="int8")
        plain = dict(tiny_model(family).named_parameters())
        mixtures = [(n, m) for n, m in loaded.module.named_modules() if isinstance(m, Experts)]
        assert len(mixtures) == 2
        for name, experts in mixtures:
            for part, product in zip(("gate_up_proj", "down_proj"), experts.products, strict=True):
                assert isinstance(product, PanelProduct)
                assert (product.bias is None) == (family != "gpt_oss")
                for expert, weight in enumerate(plain[f"{name}.{part}"]):
                    expected = quantize.quantize(weight.t() if is_transposed else weight)
                    assert product.weights.scales is not None
                    assert torch.equal(product.weights.panels[expert], expected.panels[0])
                    assert torch.equal(product.weights.scales[expert], expected.scales[0])


def test_weight_bytes_are_those_that_are_left(checkpoints: Path) -> None:
    """The embedding that the LM head shared with is still there, the head has its own now."""
    for family in ("qwen3", "llama", "qwen3_moe"):
        plain = load_tiny(family, checkpoints, is_replaced=False)
        loaded = load_tiny(family, checkpoints, is_replaced=False, quantization="int8")
        integers = sum(
            m.panel_weights.num_bytes for m in loaded.module.modules() if isinstance(m, PanelLayer)
        )
        integers += sum(m.num_bytes for m in loaded.module.modules() if isinstance(m, Experts))
        floats = sum(p.nbytes for p in loaded.module.parameters())
        assert loaded.weight_bytes == integers + floats, family
        assert loaded.vocab_size == plain.vocab_size


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_layers_float_weights_are_gone_before_the_next_ones_turn(
    dtype: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Tensor]] = []
    plain = quantize.quantize

    def watched(weight: Tensor, **options: bool) -> PanelWeights:
        alive = [each for each in seen if each() is not None]
        assert not alive, "the weights of the layer before are still there"
        seen.append(weakref.ref(weight))
        return plain(weight, **options)

    monkeypatch.setattr(quantize, "quantize", watched)
    load_tiny("llama", checkpoints, dtype=dtype, quantization="int8")
    assert len(seen) == 2 * 7 + 1


def test_replaced_layers_keep_no_float_weights(checkpoints: Path) -> None:
    for family in ("qwen3", "phi3"):
        module = load_tiny(family, checkpoints, quantization="int8").module
        assert not linear_names(module)
        matrices = [name for name, p in module.named_parameters() if p.ndim > 1]
        assert matrices == ["model.embed_tokens.weight"]


def test_what_stays_as_it_was_is_named_once(
    checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="engine.model.quantize"):
        load_tiny("qwen3_moe", checkpoints, quantization="int8")
        load_tiny("llama", checkpoints, quantization="int8")
    first, second = caplog.messages
    assert first.startswith("qwen3_moe: 9 linear layers and 8 experts have int8 weights, ")
    assert first.endswith("; as they were: routers")
    assert second.startswith("llama: 15 linear layers have int8 weights, ")
    assert "as they were" not in second


def test_a_router_stays_as_it_was() -> None:
    class Model(nn.Module):
        base_model_prefix = "model"

        def __init__(self) -> None:
            super().__init__()
            self.model = nn.ModuleDict({"gate": nn.Linear(8, 4), "up_proj": nn.Linear(8, 70)})

    model = Model().requires_grad_(False)
    quantize.quantize_linears(model, "m", "int8")
    assert linear_names(model) == {"model.gate"}
    assert quantized_names(model) == {"model.up_proj"}


def test_a_decoder_without_linear_layers_is_refused_by_name(checkpoints: Path) -> None:
    with pytest.raises(ModelRefusedError) as refused:
        load_tiny("gpt2", checkpoints, quantization="int8")
    assert str(refused.value) == (
        "cannot run gpt2 with --quantization int8: the decoder of GPT2LMHeadModel has no linear "
        "layers (its weights are in Conv1D); leave it out"
    )


def test_other_methods_and_devices_are_refused_before_anything_is_read() -> None:
    folder = Path("/no/such/folder")
    with pytest.raises(ModelRefusedError, match="'awq' is not known; use int8 or w8a8_int8"):
        load_model(ModelConfig(model="m", quantization="awq"), folder, CPU)
    with pytest.raises(ModelRefusedError, match="--quantization int8 on cuda: only the CPU"):
        load_model(ModelConfig(model="m", quantization="int8"), folder, torch.device("cuda"))
    check_quantization(None, torch.device("cuda"), "m")


def test_rounded_rows_are_refused_where_nothing_multiplies_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantize, "multiplies_int8", lambda: False)
    with pytest.raises(ModelRefusedError, match="takes AVX-512 VNNI and the compiled CPU kernels"):
        check_quantization("w8a8_int8", CPU, "m")
    check_quantization("int8", CPU, "m")
    monkeypatch.setattr(quantize, "multiplies_int8", lambda: True)
    check_quantization("w8a8_int8", CPU, "m")


def test_a_checkpoint_that_is_quantised_itself_stays_refused(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path)
    config = folder / "config.json"
    text = config.read_text().replace("{", '{"quantization_config": {"quant_method": "gptq"},', 1)
    config.write_text(text)
    with pytest.raises(ModelRefusedError, match=r"its weights are quantised \(gptq\)"):
        load_model(ModelConfig(model="m", quantization="int8"), folder, CPU)


def test_deterministic_needs_products_that_are_invariant(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "resolve", lambda *_: reference.panel_linear)
    loaded = load_tiny("qwen3", checkpoints, quantization="int8")
    with pytest.raises(ModelRefusedError, match="--deterministic cannot run some/m with --quant"):
        make_invariant(loaded.module, "some/m")
