import os
import sys

import pytest

from worker.console import OutputConsole


def test_a_reader_that_goes_away_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        console = OutputConsole()
        console.print("nobody reads this")
        console.print("nor this")
