import pytest
from openai.types import FileObject as ClientFile

from schemas.errors import ApiError
from schemas.files import UPLOAD_PURPOSES, FileObject, UploadFields, parse_upload_fields


def test_the_client_s_type_takes_every_key() -> None:
    file = FileObject(id="file-a", bytes=3, created_at=5, filename="x", purpose="batch_output")
    known = set(ClientFile.model_fields)
    assert set(file.model_dump()) == known
    assert ClientFile.model_validate(file.model_dump(), strict=True).status == "processed"


@pytest.mark.parametrize("purpose", UPLOAD_PURPOSES)
def test_every_purpose_may_be_uploaded(purpose: str) -> None:
    assert parse_upload_fields({"purpose": purpose}) == UploadFields(purpose, None)


def test_an_expiry() -> None:
    fields = {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": "2592000",
    }
    assert parse_upload_fields(fields).expires_after_s == 2_592_000


@pytest.mark.parametrize("seconds", ["3599", "-1", "2592001", "1e4", "", "9" * 30, "٣٦٠٠"])
def test_an_expiry_out_of_range_or_form(seconds: str) -> None:
    fields = {
        "purpose": "batch",
        "expires_after[anchor]": "created_at",
        "expires_after[seconds]": seconds,
    }
    with pytest.raises(ApiError) as got:
        parse_upload_fields(fields)
    assert got.value.param == "expires_after.seconds"


def test_an_unknown_purpose_is_told_the_known_ones() -> None:
    with pytest.raises(ApiError) as got:
        parse_upload_fields({"purpose": "x"})
    assert got.value.message == (
        "'x' is not one of ['fine-tune', 'assistants', 'batch', 'user_data', 'vision', 'evals'] "
        "- 'purpose'"
    )
