from pathlib import Path

import pytest

from jobs.api.services import ApiSettings
from tests.jobs.conftest import fake_client
from tests.jobs.endpoint import Endpoint, make_endpoint

FILE = {"file": ("in.jsonl", b"data")}


async def test_an_upload_is_a_file_with_every_key(endpoint: Endpoint) -> None:
    reply = await endpoint.client.post(
        "/v1/files", data={"purpose": "batch"}, files={"file": ("näme.txt", b"\x00\xff\r\n--x")}
    )
    assert reply.status_code == 200
    file = reply.json()
    assert file == {
        "id": file["id"],
        "object": "file",
        "bytes": 7,
        "created_at": file["created_at"],
        "filename": "näme.txt",
        "purpose": "batch",
        "status": "processed",
        "expires_at": file["created_at"] + 2_592_000,
        "status_details": None,
    }
    assert isinstance(file["created_at"], int)
    content = await endpoint.client.get(f"/v1/files/{file['id']}/content")
    assert content.content == b"\x00\xff\r\n--x"
    assert content.headers["content-length"] == "7"
    assert content.headers["content-type"] == "application/octet-stream"


async def test_other_purposes_stay(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"x", purpose="user_data")
    file = (await endpoint.client.get(f"/v1/files/{file_id}")).json()
    assert file["expires_at"] is None


async def test_the_purpose_may_come_after_the_file(endpoint: Endpoint) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n'
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n--B--\r\n'
    )
    reply = await endpoint.client.post(
        "/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=B"}
    )
    assert reply.json()["purpose"] == "vision"


async def test_a_file_for_evals_is_one_that_strict_clients_know(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"x", purpose="evals")
    file = (await endpoint.client.get(f"/v1/files/{file_id}")).json()
    assert file["purpose"] == "user_data"
    found = (await endpoint.client.get("/v1/files?purpose=evals")).json()["data"]
    assert [each["id"] for each in found] == [file_id]


async def test_a_field_that_comes_twice_is_refused(endpoint: Endpoint) -> None:
    purpose = b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    reply = await endpoint.client.post(
        "/v1/files",
        content=purpose * 2 + b"--B--\r\n",
        headers={"content-type": "multipart/form-data; boundary=B"},
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "duplicate_parameter"


@pytest.mark.parametrize("purpose", ["batch", "user_data"])
async def test_a_file_whose_purpose_comes_last_is_stored_whole(
    tmp_path: Path, purpose: str
) -> None:
    """Until then it may be as large as any purpose allows."""
    client = fake_client()
    large, small = 5 << 20, 2 << 20
    sizes = {"max_file_bytes": small, "max_batch_file_bytes": large}
    if purpose == "user_data":
        sizes = {"max_file_bytes": large, "max_batch_file_bytes": small}
    endpoint = make_endpoint(client, tmp_path, settings=ApiSettings(**sizes))
    data = b"x" * (4 << 20)
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + data +
        b'\r\n--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n' + purpose.encode() +
        b"\r\n--B--\r\n"
    )  # fmt: skip
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = await endpoint.client.post("/v1/files", content=body, headers=kind)
    assert reply.status_code == 200
    content = await endpoint.client.get(f"/v1/files/{reply.json()['id']}/content")
    assert content.content == data
    await endpoint.client.aclose()
    await client.aclose()


async def test_a_folder_in_the_name_is_left_out(endpoint: Endpoint) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="../../etc/pass\\wd"\r\n\r\n'
        b"x\r\n--B--\r\n"
    )
    reply = await endpoint.client.post(
        "/v1/files", content=body, headers={"content-type": 'multipart/form-data; boundary="B"'}
    )
    assert reply.json()["filename"] == "wd"


@pytest.mark.parametrize(
    ("fields", "file", "param", "code"),
    [
        ({}, True, "purpose", "missing_required_parameter"),
        ({"purpose": "batch"}, False, "file", "missing_required_parameter"),
        ({"purpose": "batch", "file": "text"}, False, "file", "invalid_type"),
        ({"purpose": "nonsense"}, True, "purpose", None),
        ({"purpose": "batch", "zzz": "1"}, True, "zzz", "unknown_parameter"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, True,
         "expires_after.anchor", "missing_required_parameter"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, True,
         "expires_after.seconds", "missing_required_parameter"),
        ({"purpose": "batch", "expires_after[anchor]": "x", "expires_after[seconds]": "3600"},
         True, "expires_after.anchor", "invalid_value"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at",
          "expires_after[seconds]": "10"}, True, "expires_after.seconds",
         "integer_below_min_value"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at",
          "expires_after[seconds]": "99999999"}, True, "expires_after.seconds",
         "integer_above_max_value"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at",
          "expires_after[seconds]": "abc"}, True, "expires_after.seconds", "invalid_type"),
        ({"purpose": "x" * 20_000}, True, "purpose", "string_above_max_length"),
    ],
)  # fmt: skip
async def test_a_form_that_cannot_be_used(
    endpoint: Endpoint, fields: dict[str, str], file: bool, param: str, code: str | None
) -> None:
    files = FILE if file else {"ignored": ("", b"")}
    if file:
        reply = await endpoint.client.post("/v1/files", data=fields, files=files)
    else:
        body = "".join(
            f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        reply = await endpoint.client.post(
            "/v1/files",
            content=f"{body}--B--\r\n".encode(),
            headers={"content-type": "multipart/form-data; boundary=B"},
        )
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert list(endpoint.control.blobs.walk()) == [], "nothing is left behind"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=B"),
        (b"nonsense", "multipart/form-data; boundary=B"),
        (b"--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n",
         "multipart/form-data; boundary=B"),
        (b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
         "multipart/form-data; boundary=B"),
        (b"--B--\r\n", f"multipart/form-data; boundary={'B' * 500}"),
    ],
)  # fmt: skip
async def test_a_body_that_is_no_form(endpoint: Endpoint, body: bytes, kind: str) -> None:
    reply = await endpoint.client.post("/v1/files", content=body, headers={"content-type": kind})
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert list(endpoint.control.blobs.walk()) == []


@pytest.mark.parametrize("is_purpose_first", [True, False])
async def test_a_file_that_is_too_large(tmp_path: Path, is_purpose_first: bool) -> None:
    client = fake_client()
    settings = ApiSettings(max_file_bytes=3 << 20, max_batch_file_bytes=1 << 20)
    endpoint = make_endpoint(client, tmp_path, settings=settings)
    purpose = b'--B\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    data = b"x" * (2 << 20)
    file = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + data
    parts = purpose + file + b"\r\n" if is_purpose_first else file + b"\r\n" + purpose
    kind = {"content-type": "multipart/form-data; boundary=B"}
    reply = await endpoint.client.post("/v1/files", content=parts + b"--B--\r\n", headers=kind)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "file_too_large"
    assert list(endpoint.control.blobs.walk()) == []
    assert await endpoint.upload(data, purpose="user_data")
    await endpoint.client.aclose()
    await client.aclose()


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=10001", "limit", "integer_above_max_value"),
        ("limit=abc", "limit", "invalid_type"),
        ("limit=", "limit", "invalid_type"),
        ("limit=1.5", "limit", "invalid_type"),
        (f"limit={'9' * 5000}", "limit", "invalid_value"),
        ("order=x", "order", "invalid_value"),
        ("after=file-nope", "after", "invalid_value"),
    ],
)
async def test_a_list_that_cannot_be(endpoint: Endpoint, query: str, param: str, code: str) -> None:
    reply = await endpoint.client.get(f"/v1/files?{query}")
    assert reply.status_code == 400
    assert (reply.json()["error"]["param"], reply.json()["error"]["code"]) == (param, code)


async def test_a_list_says_where_it_ends(endpoint: Endpoint) -> None:
    ids = [await endpoint.upload(b"x") for _ in range(3)]
    first = (await endpoint.client.get("/v1/files?limit=2")).json()
    assert [file["id"] for file in first["data"]] == ids[:0:-1]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[2], ids[1], True)
    last = (await endpoint.client.get(f"/v1/files?after={ids[0]}")).json()
    assert last == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    "file_id", ["file-nope", "..%2F..%2Fetc%2Fpasswd", "%00", "file-" + "x" * 5000, "%C3%A9"]
)
async def test_an_unknown_file(endpoint: Endpoint, file_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        reply = await endpoint.client.request(method, f"/v1/files/{file_id}{path}")
        assert reply.status_code == 404
        error = reply.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        if "%2F" not in file_id:
            assert error["message"].startswith("No such File object: ")
            assert (error["param"], error["code"]) == ("id", None)


async def test_a_deleted_file(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"x")
    reply = await endpoint.client.delete(
        f"/v1/files/{file_id}", headers={"content-type": "application/json"}
    )
    assert reply.json() == {"id": file_id, "object": "file", "deleted": True}
    assert (await endpoint.client.delete(f"/v1/files/{file_id}")).status_code == 404


async def test_bytes_that_are_gone(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(b"x")
    for info in list(endpoint.control.blobs.walk()):
        endpoint.control.blobs.delete(info.key)
    reply = await endpoint.client.get(f"/v1/files/{file_id}/content")
    assert reply.status_code == 410
    assert reply.headers["x-should-retry"] == "false"
