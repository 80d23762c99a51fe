import pytest
import torch

from engine.fingerprint import engine_fingerprint

CPU = torch.device("cpu")


def test_a_fingerprint_names_everything_that_decides_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    base = engine_fingerprint("m", torch.float32, CPU)
    assert base == engine_fingerprint("m", torch.float32, CPU)
    assert base.startswith("fp_")
    assert len(base) == 19
    others = {
        engine_fingerprint("other", torch.float32, CPU),
        engine_fingerprint("m", torch.bfloat16, CPU),
        engine_fingerprint("m", torch.float32, CPU, deterministic=True),
        engine_fingerprint("m", torch.float32, CPU, kv_cache_dtype="fp8"),
        engine_fingerprint("m", torch.float32, CPU, quantization="int8"),
    }
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    others.add(engine_fingerprint("m", torch.float32, CPU))
    monkeypatch.setattr(torch, "__version__", "0.0")
    others.add(engine_fingerprint("m", torch.float32, CPU))
    assert base not in others
    assert len(others) == 7
