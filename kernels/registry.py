"""Which implementation of an op runs on which device.

Owns: the table (op, device type) -> implementation. An op's reference needs no registration: it is
the fallback on every device. A faster implementation calls `register` when its op's package is
imported. Callers `resolve` once, when a model is loaded, and keep the callable; nothing is looked
up during a step. Must not know: what the ops compute.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, overload

from kernels.errors import AlreadyRegisteredError, UnknownOpError

if TYPE_CHECKING:
    import torch

    from kernels.activation import GeluMul, SiluMul
    from kernels.decoder_layers import MakeDecoderLayers
    from kernels.grouped_linear import GroupedLinear
    from kernels.kv_cache import WriteKV
    from kernels.paged_attention import PagedAttention
    from kernels.panel_linear import PanelLinear
    from kernels.rms_norm import RMSNorm
    from kernels.rope import Rope
    from kernels.sampling import Logprobs, Sample

__all__ = ["available", "op_names", "register", "register_module", "resolve"]

# The package of each op; the function of the op's name in its reference.py is the reference.
_PACKAGES = {
    "decoder_layers": "kernels.decoder_layers",
    "gelu_mul": "kernels.activation",
    "grouped_linear": "kernels.grouped_linear",
    "logprobs": "kernels.sampling",
    "paged_attention": "kernels.paged_attention",
    "panel_linear": "kernels.panel_linear",
    "rms_norm": "kernels.rms_norm",
    "rope": "kernels.rope",
    "sample": "kernels.sampling",
    "silu_mul": "kernels.activation",
    "write_kv": "kernels.kv_cache",
}

_implementations: dict[tuple[str, str], Callable[..., Any]] = {}
_modules: dict[tuple[str, str], str] = {}


def op_names() -> tuple[str, ...]:
    """Every op, sorted."""
    return tuple(sorted(_PACKAGES))


def register(op: str, device_type: str, implementation: Callable[..., Any]) -> None:
    """Make `implementation` what `resolve(op, device)` answers for devices of `device_type`
    ("cpu", "cuda"). It must keep the op's whole contract; where it supports only a part of it, it
    calls the reference for the rest itself.

    Raises UnknownOpError, and AlreadyRegisteredError if another implementation is there.
    """
    _package_of(op)
    present = _implementations.setdefault((op, device_type), implementation)
    if present is not implementation:
        raise AlreadyRegisteredError(
            f"op {op!r} already has an implementation for {device_type!r}: {_label(present)}"
        )


def register_module(op: str, device_type: str, module: str) -> None:
    """Like `register`, for the function `op` of a module that is imported only when a device of
    that type asks for it.
    """
    _package_of(op)
    _modules[op, device_type] = module


@overload
def resolve(op: Literal["decoder_layers"], device: "torch.device | str") -> "MakeDecoderLayers": ...
@overload
def resolve(op: Literal["gelu_mul"], device: "torch.device | str") -> "GeluMul": ...
@overload
def resolve(op: Literal["grouped_linear"], device: "torch.device | str") -> "GroupedLinear": ...
@overload
def resolve(op: Literal["logprobs"], device: "torch.device | str") -> "Logprobs": ...
@overload
def resolve(op: Literal["paged_attention"], device: "torch.device | str") -> "PagedAttention": ...
@overload
def resolve(op: Literal["panel_linear"], device: "torch.device | str") -> "PanelLinear": ...
@overload
def resolve(op: Literal["rms_norm"], device: "torch.device | str") -> "RMSNorm": ...
@overload
def resolve(op: Literal["rope"], device: "torch.device | str") -> "Rope": ...
@overload
def resolve(op: Literal["sample"], device: "torch.device | str") -> "Sample": ...
@overload
def resolve(op: Literal["silu_mul"], device: "torch.device | str") -> "SiluMul": ...
@overload
def resolve(op: Literal["write_kv"], device: "torch.device | str") -> "WriteKV": ...
def resolve(op: str, device: "torch.device | str") -> Callable[..., Any]:
    """The callable that computes `op` on `device`; the reference where nothing faster is
    registered. Imports the op's package. Raises UnknownOpError.
    """
    return _resolve(op, device)


def available(device: "torch.device | str") -> dict[str, str]:
    """What runs on `device`, for logs: op name -> implementation, such as
    {"paged_attention": "reference"}.
    """
    return {op: _label(_resolve(op, device)) for op in op_names()}


def _resolve(op: str, device: "torch.device | str") -> Callable[..., Any]:
    package = _package_of(op)
    import_module(package)  # registers what this machine can run
    device_type = str(device).partition(":")[0]
    module = _modules.pop((op, device_type), None)
    if module is not None:
        register(op, device_type, getattr(import_module(module), op))
    registered = _implementations.get((op, device_type))
    if registered is not None:
        return registered
    reference: Callable[..., Any] = getattr(import_module(f"{package}.reference"), op)
    return reference


def _package_of(op: str) -> str:
    try:
        return _PACKAGES[op]
    except KeyError:
        raise UnknownOpError(f"unknown op {op!r}; the ops are: {', '.join(op_names())}") from None


def _label(implementation: Callable[..., Any]) -> str:
    """The module's own name: "reference", "cpu", "gpu"."""
    return implementation.__module__.rpartition(".")[2]
