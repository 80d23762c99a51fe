import pytest

from jobs.server_url import check_server_url, without_password


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host:6379/0",
        "redis://host/3/",
        "REDIS://host/0",
        "rediss://user:p%2Fw@host:6380/1?ssl_cert_reqs=none",
        "redis://:p@ss@host",
        "redis://[::1]:6379/0",
        "redis://host/0?client_name=me@box",
        "unix:///run/redis/a@b.sock?db=1",
        "unix://:secret@/run/s",
    ],
)
def test_what_redis_py_reads_right_is_taken(url: str) -> None:
    check_server_url(url)


@pytest.mark.parametrize("character", ["/", "#", "?", "[", "\uff03"])
def test_a_password_that_is_not_encoded_is_explained_and_not_repeated(character: str) -> None:
    for url in (
        f"redis://:sec{character}ret@host:6379/0",
        f"rediss://user:sec{character}ret@host",
        f"redis://:sec@{character}ret@host",
    ):
        with pytest.raises(ValueError, match="percent-encoded") as caught:
            check_server_url(url)
        assert "sec" not in str(caught.value)
        assert "sec" not in without_password(url)


@pytest.mark.parametrize("url", ["redis://host/jobs", "redis://host/0x1", "redis://host/-1"])
def test_a_path_that_is_no_database_is_refused(url: str) -> None:
    """redis-py would use database 0."""
    with pytest.raises(ValueError, match="no database number"):
        check_server_url(url)


@pytest.mark.parametrize("url", ["redis://host:port", "redis://host:99999"])
def test_a_port_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no number from 0 to 65535"):
        check_server_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:1/0", "redis://host:1/0"),
        ("unix:///run/s?password=secret&db=1", "unix:///run/s?db=1"),
        ("unix:///run/s?db=1&password=se@cret", "unix:///run/s?db=1"),
        ("unix:///run/s?password=secret", "unix:///run/s"),
        ("host:6379", "host:6379"),
    ],
)
def test_an_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
