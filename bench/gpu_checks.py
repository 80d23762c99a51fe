"""Every kernel against its reference, in every dtype, on the device: nothing red is timed.

Owns: running the cases of the op folders, and the verdicts. The expected values are those of the
references on the CPU; those of attention in float32.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from bench.kernels import PACKAGES
from kernels.float8 import FLOAT8
from kernels.registry import resolve
from kernels.sampling import logprob_cases
from kernels.sampling.cases import CASES as SAMPLING_CASES
from kernels.tolerance import DTYPES

__all__ = ["Verdict", "check_kernels", "runs_on"]

_FLOAT8_CAPABILITY = (8, 9)  # Triton reads 8-bit floats from here on


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one op in one dtype: how many cases there were, and what was wrong with the first red one
    (None: all are green).
    """

    op: str
    dtype: str
    num_cases: int
    wrong: str | None


def check_kernels(
    device: torch.device, *, max_cases: int | None = None, num_processes: int = 1
) -> list[Verdict]:
    """All ops, or the first `max_cases` cases of each for a trial. Compiling takes most of the
    time, so ops and dtypes may be spread over processes.
    """
    ops = (*PACKAGES, "sample", "logprobs")
    asked = [(op, dtype, str(device), max_cases) for dtype in DTYPES for op in ops]
    if num_processes == 1:
        return [_check(*each) for each in asked]
    context = get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context) as processes:
        return list(processes.map(_check, *zip(*asked, strict=True)))


def runs_on(case: Any, device: torch.device) -> bool:
    """Whether the device can run it; all can, except for caches of 8-bit floats on older GPUs."""
    if getattr(case, "cache_dtype", None) != FLOAT8 or device.type != "cuda":
        return True
    return torch.cuda.get_device_capability(device) >= _FLOAT8_CAPABILITY


def _check(op: str, dtype: torch.dtype, device: str, max_cases: int | None) -> Verdict:
    if op == "sample":
        return _verdict(op, dtype, SAMPLING_CASES[:max_cases], torch.device(device), _check_sample)
    if op == "logprobs":
        cases = logprob_cases.CASES[:max_cases]
        return _verdict(op, dtype, cases, torch.device(device), _check_logprobs)
    all_cases = import_module(f"{PACKAGES[op]}.cases").CASES[:max_cases]
    cases = tuple(case for case in all_cases if runs_on(case, torch.device(device)))
    return _verdict(op, dtype, cases, torch.device(device), _check_case)


def _verdict(
    op: str,
    dtype: torch.dtype,
    cases: tuple[Any, ...],
    device: torch.device,
    check: Callable[[str, Any, torch.dtype, torch.device], None],
) -> Verdict:
    wrong = None
    for case in cases:
        try:
            check(op, case, dtype, device)
        except Exception as error:  # noqa: BLE001 - a kernel that cannot run is red too
            wrong = f"{case.name}: {' '.join(str(error).split())[:300]}"
            break
    return Verdict(op, str(dtype).removeprefix("torch."), len(cases), wrong)


def _check_case(op: str, case: Any, dtype: torch.dtype, device: torch.device) -> None:
    module = import_module(f"{PACKAGES[op]}.cases")
    reference: Any = getattr(import_module(f"{PACKAGES[op]}.reference"), op)
    ours = _arguments(case.make_inputs(dtype), device)
    theirs = _arguments(case.make_inputs(dtype), torch.device("cpu"))
    found: Any = resolve(op, device)(**ours)  # type: ignore[call-overload]
    if op == "paged_attention":
        expected = reference(**{name: _widened(value) for name, value in theirs.items()})
        module.MATRIX_TOLERANCES[dtype].check(found.cpu(), expected)
        return
    expected = reference(**theirs)
    for name in ("key_cache", "value_cache", "residual"):
        if isinstance(theirs.get(name), Tensor):
            _same(ours[name].float().nan_to_num(), theirs[name].float().nan_to_num())
    if op == "write_kv":
        return
    tolerance = module.TOLERANCES[dtype]
    if op.endswith("_mul"):  # near 0, where the error grows with the gate
        tolerance = replace(tolerance, absolute=max(tolerance.absolute, 1e-6 * case.scale**2))
    for output, wanted in zip(_tensors(found), _tensors(expected), strict=True):
        tolerance.check(output.cpu(), wanted)


def _check_sample(_: str, case: Any, dtype: torch.dtype, device: torch.device) -> None:
    reference = import_module("kernels.sampling.reference")
    inputs = case.make_inputs(dtype)
    expected = reference.sample(inputs.logits.clone(), inputs.params)
    found = resolve("sample", device)(inputs.logits.to(device), _moved(inputs.params, device))
    _same(found.is_valid, expected.is_valid)
    _same(found.token_ids, expected.token_ids)


def _check_logprobs(_: str, case: Any, dtype: torch.dtype, device: torch.device) -> None:
    reference = import_module("kernels.sampling.reference")
    inputs = case.make_inputs(dtype)
    moved = inputs.logits.to(device), inputs.token_ids.to(device)
    found = resolve("logprobs", device)(*moved, inputs.num_top)
    expected = reference.logprobs(inputs.logits, inputs.token_ids, inputs.num_top)
    for name in ("ranks", "top_token_ids", "is_valid"):
        _same(getattr(found, name), getattr(expected, name))
    for name in ("logprobs", "top_logprobs"):
        logprob_cases.TOLERANCE.check(getattr(found, name).cpu(), getattr(expected, name))


def _arguments(inputs: Any, device: torch.device) -> dict[str, Any]:
    """The case's inputs on the device; parts of wider tensors stay such parts."""
    return {field.name: _moved(getattr(inputs, field.name), device) for field in fields(inputs)}


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors, and those within dataclasses, on the device, with their strides."""
    if isinstance(value, Tensor):
        if device.type == value.device.type:
            return value
        target = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        return target.copy_(value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: _moved(getattr(value, field.name), device) for field in fields(value)
        }
        return replace(value, **changes)
    return value


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    else:
        yield from value


def _same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=0)
