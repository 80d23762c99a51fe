"""An upload on its way from the socket into a blob.

Owns: the multipart form, its limits, and that a form which fails leaves nothing behind. Must not
know: what files are for. The file streams: at most about a megabyte of it is in memory, whatever
its size.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from jobs.api.services import ApiSettings
from jobs.blobs import Blobs, BlobWriter, new_blob_key
from schemas.errors import ApiError
from schemas.files import UploadFields, parse_upload_fields

__all__ = ["Upload", "receive_upload"]

_WRITE_BYTES = 1 << 20
_MAX_FIELD_BYTES = 16_384
_MAX_FIELDS = 16
_MAX_FILENAME_CHARS = 512
_MAX_DISCARDED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was received whole: its fields, and the blob that is not committed yet."""

    fields: UploadFields
    filename: str
    blob: str
    num_bytes: int
    writer: BlobWriter


@dataclass(slots=True)
class _Part:
    """The part of the form that is being received."""

    name: str = ""
    filename: str | None = None
    headers: dict[str, bytes] = field(default_factory=dict)
    value: bytearray = field(default_factory=bytearray)


async def receive_upload(request: Request, blobs: Blobs, settings: ApiSettings) -> Upload:
    """Receive the form of POST /v1/files; the caller commits the blob or aborts it.

    Raises ApiError: 400 for a form that cannot be used, 413 for a file that is too large.
    """
    form = _Form(_boundary(request))
    blob = new_blob_key()
    writer = await asyncio.to_thread(blobs.create, blob)
    try:
        num_bytes = await _receive(request, form, writer, settings)
        fields, filename = form.checked()
    except BaseException:
        await asyncio.shield(asyncio.to_thread(writer.abort))
        raise
    return Upload(fields=fields, filename=filename, blob=blob, num_bytes=num_bytes, writer=writer)


async def _receive(
    request: Request, form: "_Form", writer: BlobWriter, settings: ApiSettings
) -> int:
    """Write the form's file; its size. Of one that is too large the rest is read, since a client
    that is cut off while it sends would see a broken connection instead of the reason.
    """
    num_bytes, num_discarded = 0, 0
    async for chunk in request.stream():
        form.feed(chunk)
        data = form.take(_WRITE_BYTES)
        num_bytes += len(data)
        if num_bytes <= _limit(form.values.get("purpose"), settings) and not num_discarded:
            if data:
                await asyncio.to_thread(writer.write, data)
            continue
        num_discarded += len(data)
        if num_discarded > _MAX_DISCARDED_BYTES:
            break
    rest = form.take(0)
    num_bytes += len(rest)
    # What was left out stays left out, also if the purpose that comes last allows more.
    if num_discarded or num_bytes > _limit(form.values.get("purpose"), settings):
        raise _too_large(form.values.get("purpose"), settings)
    await asyncio.to_thread(writer.write, rest)
    return num_bytes


def _limit(purpose: str | None, settings: ApiSettings) -> int:
    """In bytes; None: the form has not said yet what the file is for."""
    if purpose is None:
        return max(settings.max_batch_file_bytes, settings.max_file_bytes)
    return settings.max_batch_file_bytes if purpose == "batch" else settings.max_file_bytes


def _too_large(purpose: str | None, settings: ApiSettings) -> ApiError:
    megabytes = _limit(purpose, settings) / (1 << 20)
    message = f"The file is too large. Expected at most {megabytes:g} MB"
    message += " for purpose 'batch'." if purpose == "batch" else "."
    return ApiError(413, message, param="file", code="file_too_large")


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise _missing("file", "Send a multipart/form-data form with a 'file' and a 'purpose'.")
    return boundary


def _missing(name: str, hint: str = "") -> ApiError:
    message = f"Missing required parameter: '{name}'. {hint}".rstrip()
    return ApiError(400, message, param=name, code="missing_required_parameter")


class _Form:
    """A form that is parsed as it arrives. `values` holds its text fields so far."""

    def __init__(self, boundary: bytes) -> None:
        self.values: dict[str, str] = {}
        self._part = _Part()
        self._filename: str | None = None
        self._data = bytearray()
        self._header = bytearray(), bytearray()
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _unreadable(error) from None

    def feed(self, chunk: bytes) -> None:
        """Parse a piece of the body. Raises ApiError."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from None

    def take(self, at_least: int) -> bytes:
        """The file's bytes since the last call; none if they are fewer than `at_least`."""
        if len(self._data) < at_least:
            return b""
        data = bytes(self._data)
        self._data.clear()
        return data

    def checked(self) -> tuple[UploadFields, str]:
        """The fields and the file's name, once the body has ended. Raises ApiError."""
        if not self._is_complete:
            message = "The multipart form ends too early: its closing boundary is missing."
            raise ApiError(400, message)
        if self._filename is None and "file" in self.values:
            message = "Invalid type for 'file': expected a file, but got a string instead."
            raise ApiError(400, message, param="file", code="invalid_type")
        fields = parse_upload_fields(_without_file(self.values))
        if self._filename is None:
            raise _missing("file")
        return fields, _plain_name(self._filename)

    def _begin_part(self) -> None:
        self._part = _Part()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        self._part.headers[name.decode("latin-1").lower()] = bytes(value)
        self._header = bytearray(), bytearray()

    def _end_headers(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition", b""))
        part.name = _text(options.get(b"name", b""))
        if not part.name:
            raise ApiError(400, "A part of the multipart form has no name.")
        if b"filename" in options:
            if part.name != "file" or self._filename is not None:
                message = f"Unknown parameter: '{part.name[:200]}'. Send one file, as 'file'."
                raise ApiError(400, message, param=part.name[:200], code="unknown_parameter")
            part.filename = _text(options[b"filename"])
            self._filename = part.filename
        elif part.name in self.values:
            message = f"Duplicate parameter: '{part.name[:200]}'. Send every field once."
            raise ApiError(400, message, param=part.name[:200], code="duplicate_parameter")
        elif len(self.values) == _MAX_FIELDS:
            raise ApiError(400, f"The multipart form has more than {_MAX_FIELDS} fields.")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.filename is not None:
            self._data.extend(memoryview(data)[start:end])
            return
        part.value.extend(memoryview(data)[start:end])
        if len(part.value) > _MAX_FIELD_BYTES:
            message = f"Invalid '{part.name[:200]}': expected at most {_MAX_FIELD_BYTES} bytes."
            raise ApiError(400, message, param=part.name[:200], code="string_above_max_length")

    def _end_part(self) -> None:
        if self._part.filename is None:
            self.values[self._part.name] = _text(bytes(self._part.value))

    def _end(self) -> None:
        self._is_complete = True


def _without_file(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name != "file"}


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _plain_name(filename: str) -> str:
    """The last component: a client's folders are its own business."""
    name = filename.replace("\\", "/").rpartition("/")[2] or "upload"
    if len(name) > _MAX_FILENAME_CHARS:
        message = (
            f"Invalid 'file': its name is too long. Expected at most {_MAX_FILENAME_CHARS} "
            f"characters, but got {len(name)}."
        )
        raise ApiError(400, message, param="file", code="string_above_max_length")
    return name


def _unreadable(error: FormParserError) -> ApiError:
    reason = " ".join(str(error).split())[:200]
    return ApiError(400, f"We could not parse the multipart form of your request. ({reason})")
