"""The benchmark of shared prefixes, with shapes too small to mean anything."""

import json
from pathlib import Path

import pytest
import torch

import kernels
from bench import shared_prefix
from bench.shared_prefix import Shape, main
from kernels.cpu_library import cpu_library

LIBRARY = Path(kernels.__file__).with_name("libheadrace_cpu.so")
needs_library = pytest.mark.skipif(cpu_library() is None, reason="the CPU kernels are not built")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_prefix, "SHAPES", (Shape(3, 256, 20), Shape(2, 0, 30)))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@needs_library
def test_each_line_has_times_and_what_was_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0", "--threads", "1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["dtype"] for line in lines] == ["torch.float32"] * 2 + ["torch.bfloat16"] * 2
    assert all(line["ratio"] > 0 for line in lines)
    fetched = [(line["tiles"], line["copies_tiles"]) for line in lines]
    assert fetched == [(8 * (4 + 3), 8 * 3 * 5), (8 * 2, 8 * 2)] * 2


@needs_library
def test_another_build_takes_turns_with_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0", "--other", str(LIBRARY)]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert json.loads(line)["other_ratio"] > 0


@needs_library
def test_other_bits_are_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from kernels.paged_attention import cpu

    monkeypatch.setattr(cpu, "paged_attention", lambda query, **_: torch.rand_like(query))
    assert main(["--seconds", "0"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert "sharing changes bits" in output.err


def test_without_the_kernels_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared_prefix, "cpu_library", lambda: None)
    assert main([]) == 1
    assert "install headrace again" in capsys.readouterr().err
