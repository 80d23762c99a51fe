"""Fixtures of the engine's tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tiny checkpoints, shared by all tests."""
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, built from scratch."""
    from engine.demo_model.builder import build_demo_model

    folder = tmp_path_factory.mktemp("demo")
    build_demo_model(folder)
    return folder
