"""The GPU benchmark's pieces on the CPU, with shapes too small to mean anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.gpu import main
from bench.gpu_checks import check_kernels, runs_on
from bench.gpu_engine import StepTimes
from bench.gpu_kernels import TINY, time_kernels
from bench.gpu_table import NOT_MEASURED, write_table
from bench.gpu_timing import measure_limits
from kernels.kv_cache.cases import CASES as WRITE_KV_CASES
from kernels.paged_attention.cases import CASES as ATTENTION_CASES
from kernels.registry import op_names

ROOT = Path(__file__).parents[2]
OPS = set(op_names()) - {"decoder_layers"}  # which is of the CPU alone
CPU = torch.device("cpu")
# A machine with a GPU need not have what queues, endpoints and grammars are made with.
LACKING = """
import sys

class Lacking:
    names = {"redis", "pydantic", "llguidance", "jsonschema", "referencing", "arq", "fastapi",
             "fakeredis", "typer", "pyarrow", "prometheus_client"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Lacking())
"""


def test_without_a_gpu_one_sentence_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main([]) == 1
    told = capsys.readouterr()
    assert told.err == "bench-gpu needs a CUDA device, and torch finds none here.\n"
    assert told.out == ""


@pytest.mark.slow
def test_a_trial_fills_every_part_on_a_machine_that_lacks_what_it_does_not_need(
    tmp_path: Path,
) -> None:
    arguments = [
        "--device", "cpu", "--trial", "--json", str(tmp_path / "a.json"),
        "--table", str(tmp_path / "a.md"),
    ]  # fmt: skip
    code = f"{LACKING}\nfrom bench.gpu import main\nsys.exit(main({arguments!r}))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    results = json.loads((tmp_path / "a.json").read_text())
    assert results["skipped"] == {}
    assert {each["op"] for each in results["checks"]} == OPS
    assert {line["op"] for line in results["kernels"]} >= {"paged_attention", "sample", "logprobs"}
    assert results["engine"]["tiny"].keys() == {"W1", "W2", "W3", "W4"}
    for line in results["engine"]["tiny"].values():
        assert line["output_tokens"] == 12
        assert line["failed_steps"] == 0
        assert 0 <= line["share_of_gaps"] < 1
    assert results["decode"]["tiny"]["share_of_roofline"] > 0
    theirs, ours = results["transformers"]["tiny"], results["beside_transformers"]["tiny"]
    assert theirs["output_tokens"] == ours["output_tokens"] == 12
    assert "CPU" in (tmp_path / "a.md").read_text()


def test_a_red_kernel_is_told_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise RuntimeError("too many registers")

    monkeypatch.setattr("bench.gpu_checks.resolve", lambda *_: wrong)
    verdicts = check_kernels(CPU, max_cases=1)
    assert {verdict.op for verdict in verdicts} == OPS
    assert all("too many registers" in (verdict.wrong or "") for verdict in verdicts)
    limits = measure_limits(CPU, scale=0.001)
    red = {"sample", "logprobs", "paged_attention"}
    timed = {line["op"] for line in time_kernels(CPU, limits, TINY, red)}
    assert timed == {"write_kv", "rms_norm", "rope", "silu_mul", "grouped_linear"}


def test_an_op_that_computes_something_else_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench.gpu_checks.resolve", lambda *_: lambda gate, up, **_: gate * up.sigmoid()
    )
    wrong = {each.op: each.wrong for each in check_kernels(CPU, max_cases=1)}
    assert "Mismatched" in (wrong["silu_mul"] or "") or "not close" in (wrong["silu_mul"] or "")


@pytest.mark.parametrize(("capability", "runs"), [((8, 6), False), ((8, 9), True), ((9, 0), True)])
def test_caches_of_8_bit_floats_are_left_out_on_gpus_that_cannot_read_them(
    capability: tuple[int, int], runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    for case in (*ATTENTION_CASES, *WRITE_KV_CASES):
        is_wanted = case.cache_dtype is None or runs
        assert runs_on(case, torch.device("cuda")) is is_wanted
        assert runs_on(case, CPU)


def test_times_between_steps_are_told_apart_from_steps() -> None:
    times = StepTimes(begun=[0.0, 1.5, 2.0], ended=[1.0, 2.0, 4.0])
    assert times.step_ms() == [1000.0, 2000.0]
    assert times.gap_ms() == [500.0, 0.0]


def _cells(path: Path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_table_of_nothing_says_so_in_every_cell(tmp_path: Path) -> None:
    write_table({}, tmp_path / "a.md")
    rows = _cells(tmp_path / "a.md")
    assert len(rows) > 50
    numbers = [cell for row in rows for cell in row[2:] if cell[:1].isdigit()]
    assert numbers == []
    assert sum(cell == NOT_MEASURED for row in rows for cell in row) > 150


def test_a_table_has_the_figures_of_its_run_and_no_others(tmp_path: Path) -> None:
    line = {"op": "paged_attention", "name": "decode 64 x 4096", "ms": 0.5, "gbs": 2147.0,
            "share_of_copy": 0.825, "tflops": 8.5, "share_of_gemm": 0.01}  # fmt: skip
    results = {
        "kernels": [line],
        "engine": {"Qwen3-8B": {"W1": {"requests": 1024, "share_of_gaps": 0.031}}},
        "transformers": {"Qwen3-8B": {"requests": 256, "output_tokens_per_s": 100.0}},
        "beside_transformers": {"Qwen3-8B": {"output_tokens_per_s": 450.0}},
        "checks": [{"op": "rope", "dtype": "float16", "num_cases": 9, "wrong": "odd: x | y"}],
    }
    write_table(results, tmp_path / "a.md")
    rows = {tuple(row[:2]): row for row in _cells(tmp_path / "a.md")}
    assert rows["paged_attention", "decode 64 x 4096"][2:] == [
        "0.5", "2,147", "82.5%", "8.5", "1.0%",
    ]  # fmt: skip
    assert rows["Qwen3-8B", "W1"][2] == "1,024"
    assert rows["Qwen3-8B", "W1"][-1] == "3.1%"
    assert rows["Qwen3-8B", "W2"][2:] == [NOT_MEASURED] * 9
    assert rows["Qwen3-8B, W1: times transformers' batching", "at least 3"][2] == "4.50"
    assert rows["rope", NOT_MEASURED][2] == "red: odd: x / y"


def test_the_committed_table_is_one_that_the_writer_writes(tmp_path: Path) -> None:
    """No figure in it was typed: as long as nothing was measured, it is the empty one."""
    committed = (ROOT / "bench" / "RESULTS_GPU.md").read_text()
    write_table({}, tmp_path / "a.md")
    assert committed == (tmp_path / "a.md").read_text()
