"""The deterministic mode is refused where attention depends on how a prompt is cut."""

import pytest
import torch

from engine import deterministic
from engine.deterministic import keep_attention
from engine.errors import ModelRefusedError


@pytest.mark.parametrize(
    ("kernels", "dtype", "advice"),
    [
        ("avx512", torch.float16, "use --dtype float32 or bfloat16"),
        ("reference", torch.float32, "a C\\+\\+ compiler"),
    ],
)
def test_what_does_not_hold_is_refused(
    kernels: str, dtype: torch.dtype, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deterministic, "instruction_set", lambda: kernels)
    monkeypatch.setattr(deterministic, "use_invariant_attention", pytest.fail)
    with pytest.raises(ModelRefusedError, match=f"--deterministic cannot run m.*{advice}"):
        keep_attention(dtype, "m")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_holds_is_kept(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(deterministic, "instruction_set", lambda: "amx")
    monkeypatch.setattr(deterministic, "use_invariant_attention", lambda: kept.append(dtype))
    keep_attention(dtype, "m")
    assert kept == [dtype]
