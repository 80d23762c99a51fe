"""What several end-to-end tests share: processes that take long to start."""

from collections.abc import Iterator

import pytest

from tests.e2e.online_site import OnlineSite, online_site


@pytest.fixture(scope="session")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnlineSite]:
    with online_site(tmp_path_factory.mktemp("online")) as site:
        yield site
