"""Ray Data with two engines, one of which is killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.test_layers import ROOT

_HAS_RAY = importlib.util.find_spec("ray") is not None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(not _HAS_RAY, reason="ray is not installed: pip install 'headrace[ray]'"),
]


def test_a_pipeline_survives_the_loss_of_an_engine(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.ray_pipeline", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, log = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, log[-3000:]
    report = json.loads(output.splitlines()[-1])

    assert report["was_killed"]
    expected = {f"row {n}": n for n in range(120)}
    for rows in (report["first"], report["second"]):
        assert len(rows) == 120
        assert {row["id"]: row["n"] for row in rows} == expected
        bad = [row for row in rows if row["status_code"] != 200]
        assert [(row["id"], row["error_code"]) for row in bad] == [("row 7", "invalid_prompt")]

    good = [row for row in report["first"] if row["status_code"] == 200]
    calls = [call for row in good for call in row["tool_calls"] or ()]
    assert calls
    assert {call["name"] for call in calls} == {"get_weather"}
    assert {json.loads(call["arguments"])["city"] for call in calls} <= {"Paris", "Rome"}
    assert any(row["reasoning"] for row in good)

    computed = Counter(row["custom_id"] for row in report["kept"])
    assert set(computed) == set(expected) - {"row 7"}
    assert computed.total() - len(computed) <= 20, "at most what the killed engine held twice"
    workers = {row["worker"] for row in report["kept"]}
    assert len(workers) >= 2
    assert len(report["kept"]) == report["num_kept_after_first"], "the second run computes nothing"
    known = {row["custom_id"]: row["response_json"] for row in report["kept"]}
    assert len(known) == 119
