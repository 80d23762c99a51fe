"""Scripts that use the Python API with the real demo model, as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layers import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TABLE = """
import headrace, pyarrow as pa, sys
assert "torch" not in sys.modules
table = pa.table({"id": ["a", "b"], "text": ["Hello", None]})
schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"],
          "additionalProperties": False}
with headrace.Engine("demo", max_num_seqs=4, seed=1) as engine:
    answers = engine.run(table, prompt_column="text", schema=schema, max_tokens=60)
    again = engine.run(table, prompt_column="text", schema=schema, max_tokens=60)
assert answers["status_code"].to_pylist() == [200, 400]
assert answers["answer"].type == pa.struct([("n", pa.int64())])
assert answers["content"].equals(again["content"])
assert answers["cached_tokens"][0].as_py() == 0
print("fine")
"""

LEFT_OPEN = """
import headrace
engine = headrace.Engine("demo", max_num_seqs=4)
results = engine.stream([f"text {n}" for n in range(200)], max_tokens=500,
    extra_body={"ignore_eos": True})
kept = next(results)
print("fine")
"""


@pytest.mark.parametrize("script", [TABLE, LEFT_OPEN], ids=["table", "left open"])
def test_a_script_ends_well(tmp_path: Path, script: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fine\n", "")
    assert not list(tmp_path.glob("*.jsonl")), "nothing is left of the requests"
