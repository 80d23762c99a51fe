"""Fixtures of the engine's tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tiny checkpoints, shared by all tests."""
    return tmp_path_factory.mktemp("checkpoints")
