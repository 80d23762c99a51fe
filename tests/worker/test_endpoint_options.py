import pytest

from worker.endpoint_options import max_file_bytes, windows_of
from worker.errors import SettingsError


def test_windows_in_seconds() -> None:
    assert windows_of(None) == {"24h": 86_400}
    assert windows_of(["30m", "45s", "7d"]) == {"30m": 1800, "45s": 45, "7d": 604_800}


@pytest.mark.parametrize("name", ["", "24", "0h", "1 h", "h", "-1h", "1w"])
def test_a_bad_window_names_the_flag(name: str) -> None:
    with pytest.raises(SettingsError, match="--completion-window"):
        windows_of([name])


def test_a_bad_size_names_the_flag() -> None:
    assert max_file_bytes("200MiB") == 200 << 20
    with pytest.raises(SettingsError, match="--max-batch-file-size"):
        max_file_bytes("lots")
