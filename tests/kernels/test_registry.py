import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels import registry
from kernels.activation import GeluMul, SiluMul
from kernels.decoder_layers import MakeDecoderLayers
from kernels.errors import AlreadyRegisteredError, KernelError, UnknownOpError
from kernels.grouped_linear import GroupedLinear
from kernels.kv_cache import WriteKV
from kernels.paged_attention import PagedAttention
from kernels.paged_attention.reference import paged_attention
from kernels.panel_linear import PanelLinear
from kernels.registry import available, op_names, register, register_module, resolve
from kernels.rms_norm import RMSNorm
from kernels.rms_norm.reference import rms_norm
from kernels.rope import Rope
from kernels.sampling import Logprobs, Sample

ROOT = Path(__file__).parents[2]
PROTOCOLS = {
    "decoder_layers": MakeDecoderLayers,
    "gelu_mul": GeluMul,
    "grouped_linear": GroupedLinear,
    "logprobs": Logprobs,
    "paged_attention": PagedAttention,
    "panel_linear": PanelLinear,
    "rms_norm": RMSNorm,
    "rope": Rope,
    "sample": Sample,
    "silu_mul": SiluMul,
    "write_kv": WriteKV,
}


@pytest.fixture(autouse=True)
def _empty_table(monkeypatch):
    for op in op_names():
        resolve(op, "meta")  # its package registers what it has before the tables are emptied
    monkeypatch.setattr(registry, "_implementations", {})
    monkeypatch.setattr(registry, "_modules", {})


def fast(*args, **kwargs):
    raise NotImplementedError


def test_reference_answers_for_every_op_on_any_device():
    assert op_names() == tuple(sorted(PROTOCOLS))
    for device in ("cpu", "cuda:1", "xpu", torch.device("meta")):
        assert available(device) == dict.fromkeys(PROTOCOLS, "reference")
    assert resolve("paged_attention", "cuda") is paged_attention


@pytest.mark.parametrize("op", sorted(PROTOCOLS))
def test_reference_has_the_signature_of_its_contract(op):
    contract = inspect.signature(PROTOCOLS[op].__call__)
    parameters = list(contract.parameters.values())[1:]
    assert inspect.signature(resolve(op, "cpu")) == contract.replace(parameters=parameters)


def test_registered_implementation_serves_its_device_type_only():
    register("paged_attention", "cuda", fast)
    assert resolve("paged_attention", torch.device("cuda", 1)) is fast
    assert resolve("paged_attention", "cuda") is fast
    assert resolve("paged_attention", torch.device("cpu")) is paged_attention
    assert resolve("rms_norm", "cuda") is rms_norm
    assert available("cuda")["paged_attention"] == "test_registry"


def test_a_module_is_imported_when_its_device_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "late_rope.py").write_text("def rope(): ...")
    monkeypatch.syspath_prepend(tmp_path)
    register_module("rope", "cuda", "late_rope")
    assert resolve("rope", "cpu") is not None
    assert "late_rope" not in sys.modules
    assert resolve("rope", "cuda:0").__module__ == "late_rope"
    assert available("cuda")["rope"] == "late_rope"


def test_same_implementation_may_register_again_but_no_other():
    register("rope", "cpu", fast)
    register("rope", "cpu", fast)
    with pytest.raises(AlreadyRegisteredError, match=r"'rope' already has .* 'cpu': test_registry"):
        register("rope", "cpu", rms_norm)
    assert resolve("rope", "cpu") is fast


def test_unknown_op_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(UnknownOpError, match=r"'flash'.*paged_attention.*write_kv"):
        resolve("flash", "cpu")
    with pytest.raises(KernelError, match="'flash'"):
        register("flash", "cpu", fast)


def test_package_and_registry_import_no_torch():
    code = "import sys, kernels, kernels.registry; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_op_resolves_without_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "from kernels.registry import available; print(available('cuda'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == str(dict.fromkeys(sorted(PROTOCOLS), "reference"))
