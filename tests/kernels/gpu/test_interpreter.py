"""The Triton kernels' numbers, without a GPU: `numerics*.py` in Triton's interpreter.

In a process of its own, since triton must be imported under the variable that asks for it. What
overflows on purpose on the way to zero is no warning on a device.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed")

pytestmark = pytest.mark.slow


@pytest.mark.timeout(900)
def test_every_case_of_every_kernel_equals_its_reference() -> None:
    cases = sorted(str(path) for path in Path(__file__).parent.glob("numerics*.py"))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore::RuntimeWarning", *cases],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:]
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed is not None
    assert int(passed[1]) > 160
    assert "skipped" not in ended.stdout
