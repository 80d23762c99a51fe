"""What all tests share. Threads that spin would make each test's torch starve the others, and how
long an example of hypothesis takes says something about the machine only.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from engine.threads import let_waiting_threads_sleep

let_waiting_threads_sleep()
settings.register_profile("headrace", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")


@pytest.fixture(scope="session")
def random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint with random weights."""
    from tests.random_model import build_random_model

    folder = tmp_path_factory.mktemp("random")
    build_random_model(folder)
    return folder
