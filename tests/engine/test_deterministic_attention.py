"""The deterministic mode is refused where attention depends on how a prompt is cut."""

import pytest
import torch

from engine import deterministic
from engine.deterministic import check_attention
from engine.errors import ModelRefusedError


@pytest.mark.parametrize(
    ("kernels", "dtype", "kv_cache_dtype", "advice"),
    [
        ("avx512", torch.float16, "auto", "use --dtype float32 or bfloat16"),
        ("reference", torch.float32, "auto", "a C\\+\\+ compiler"),
        ("amx", torch.bfloat16, "auto", "use avx512"),
    ],
)
def test_what_does_not_hold_is_refused(
    kernels: str,
    dtype: torch.dtype,
    kv_cache_dtype: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deterministic, "instruction_set", lambda: kernels)
    with pytest.raises(ModelRefusedError, match=f"--deterministic cannot run m.*{advice}"):
        check_attention(dtype, kv_cache_dtype, "m")


@pytest.mark.parametrize(
    ("kernels", "dtype", "kv_cache_dtype"),
    [
        ("portable", torch.float32, "auto"),
        ("avx512", torch.bfloat16, "auto"),
        ("amx", torch.float32, "auto"),
        ("amx", torch.bfloat16, "fp8"),
    ],
)
def test_what_holds_is_not(
    kernels: str, dtype: torch.dtype, kv_cache_dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deterministic, "instruction_set", lambda: kernels)
    check_attention(dtype, kv_cache_dtype, "m")
