"""headrace keys, over a real server."""

import json
import re

import pytest

from jobs.embedded_server import EmbeddedServer
from worker.cli import main

pytestmark = pytest.mark.redis


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--redis", server.url, "--namespace", "keys-test"]

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["keys", *arguments, *at])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, err = run("create", "--tenant", "acme", "--label", "a note")
    secret = out.strip()
    assert code == 0
    assert err == ""
    assert re.fullmatch(r"hr-[0-9a-f]{12}-[\w-]{43}", secret)
    _, listed, _ = run("list")
    key_id = secret.split("-")[1]
    assert key_id in listed
    assert "acme" in listed
    assert "a note" in listed
    assert "valid" in listed
    assert secret.split("-", 2)[2] not in listed
    assert run("revoke", key_id)[0] == 0
    assert "revoked" in run("list")[1]
    (entry,) = json.loads(run("list", "--json")[1])
    assert set(entry) == {"key_id", "tenant", "label", "created_at", "revoked_at", "limits"}
    assert set(entry["limits"].values()) == {None}
    limits = ("--max-batches", "2", "--max-requests", "0", "--max-request-bytes", "7")
    assert run("create", "--tenant", "small", *limits)[0] == 0
    assert "max-requests=0 max-batches=2 max-request-bytes=7" in run("list")[1]
    code, _, err = run("revoke", "nothing")
    assert code == 2
    assert "no key 'nothing'" in err
    code, _, err = run("create", "--tenant", "a b")
    assert code == 2
    assert "tenant 'a b'" in err
    assert len(err.splitlines()) == 1
