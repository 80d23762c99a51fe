import os
import subprocess
import sys

import pytest

from tests.e2e.command import ROOT, environment


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_without_standard_streams(closed: str) -> None:
    command = f'"{sys.executable}" -m worker.cli --version {closed}'
    ended = subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment(), check=False)
    assert ended.returncode == 0


def test_a_name_that_the_output_cannot_show_is_shown_with_escapes() -> None:
    script = "import sys, worker.streams as s; s.open_standard_streams(); print('é', sys.argv[1])"
    ended = subprocess.run(
        [sys.executable, "-c", script, os.fsdecode(b"\xfc")],
        cwd=ROOT,
        env=environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "\\xe9 \\udcfc\n"
