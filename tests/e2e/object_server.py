"""A server that speaks the S3 API, on loopback, with one bucket."""

import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import wait_for
from tests.e2e.endpoint_process import free_port

BUCKET = "bucket"


@dataclass(frozen=True)
class ObjectServer:
    """`environment` is what a user would set to reach it."""

    port: int
    environment: dict[str, str]

    def names(self) -> list[str]:
        """Every object in the bucket, folder marks left out."""
        found = self._client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found if not each["Key"].endswith("/")]

    def read(self, name: str) -> bytes:
        return bytes(self._client().get_object(Bucket=BUCKET, Key=name)["Body"].read())

    def _client(self) -> Any:
        return _client(self.port)


@contextmanager
def object_server(folder: Path, *, checks_credentials: bool = False) -> Iterator[ObjectServer]:
    """Skips the test where the server is not installed."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        pytest.skip("no S3 server: moto[s3], flask and flask-cors are not installed")
    port = free_port()
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    after = {"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if checks_credentials else {}
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=dict(os.environ) | variables | after,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _is_up(port), "the S3 server", timeout_s=60)
        _client(port).create_bucket(Bucket=BUCKET)
        endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        yield ObjectServer(port, variables | endpoint)
    finally:
        process.kill()
        process.wait()


def _client(port: int) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=30):
            return True
    except OSError:
        return False
