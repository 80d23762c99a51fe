"""The last release of an earlier major of the `openai` client, in a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import ROOT, environment
from tests.e2e.online_site import OnlineSite

pytestmark = [pytest.mark.redis, pytest.mark.slow]

FOLDER = Path(os.environ.get("HEADRACE_OPENAI_OLD") or Path(sys.prefix) / "old_openai")


@pytest.mark.skipif(
    not (FOLDER / "openai").is_dir(),
    reason=f"no older openai client in {FOLDER}: `make setup` puts one there",
)
def test_an_older_client_works_unchanged(online: OnlineSite) -> None:
    script = ROOT / "tests" / "e2e" / "old_client.py"
    ended = subprocess.run(
        [sys.executable, str(script), f"{online.url}/v1", online.key, "demo"],
        env=environment(PYTHONPATH=str(FOLDER)),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert seen["version"].startswith("1.")
    assert seen["status"] == "completed"
    assert seen["counts"] == [3, 2, 1]
    assert seen["custom_ids"] == ["r0", "r1", "r2"]
    assert seen["refusal"] == ["integer_below_min_value", "n"]
    assert seen["unknown"] == "id"
