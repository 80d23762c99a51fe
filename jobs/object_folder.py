"""One prefix in an object store, through pyarrow.fs: whole objects in, whole objects out.

An object appears when its upload is complete and flushed by the store, and never in part;
listings show every finished upload and deletion (S3 and Google Cloud Storage promise both). Arrow
can neither write an object on condition that it is new, nor abandon an upload.

Owns: URLs to prefixes, object names, the store's errors in our words. Must not know: what the
objects hold; credentials, which Arrow finds where the store's own tools do. Calls block.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qsl, quote

import pyarrow as pa
from pyarrow import fs

from jobs.errors import StoreError, StoreWriteError

__all__ = ["ObjectFolder", "ObjectInfo", "object_error_reason", "open_file_system"]

_COPY_BYTES = 8 << 20
_WHOLE_LISTING = 1000  # keys that a store lists in one answer; more come in several
_RETRIES = 20

# One request for a small object instead of three; a store that does not answer is given up within
# a minute, not a quarter of an hour.
_SETTINGS = {
    "s3": (("allow_delayed_open", "true"),),
    "gs": (("retry_limit_seconds", "60"),),
}
_REASONS = (
    (
        r"resolving region.*(NETWORK_CONNECTION|curlCode)",
        "the bucket's region cannot be looked up, because the store cannot be reached; name it "
        "(?region=NAME or AWS_DEFAULT_REGION), and for a store of your own AWS_ENDPOINT_URL",
    ),
    (
        r"NO_SUCH_BUCKET|Bucket '[^']*' not found|bucket does not exist|BucketNotFound",
        "the bucket does not exist; create it, or mend its name",
    ),
    (
        r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID|EXPIRED_TOKEN"
        r"|INVALID_SIGNATURE|TokenRefreshRequired|ExpiredToken",
        "the store refuses the credentials (for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
        "AWS_SESSION_TOKEN, or a profile)",
    ),
    (
        r"ACCESS_DENIED|HTTP status 403|PERMISSION_DENIED|UNAUTHENTICATED|HTTP status 401",
        "access is denied: the credentials are missing, wrong, or lack the right to list, read, "
        "write and delete there",
    ),
    (
        r"PermanentRedirect|HTTP status 301|AuthorizationHeaderMalformed|IllegalLocationConstraint"
        r"|resolving region|region .* is wrong",
        "the region is missing or wrong; add ?region=NAME to the URL or set AWS_DEFAULT_REGION",
    ),
    (
        r"NETWORK_CONNECTION|REQUEST_TIMEOUT|curlCode|UNAVAILABLE|DEADLINE_EXCEEDED",
        "the store cannot be reached (for a store of your own: AWS_ENDPOINT_URL, or "
        "?endpoint_override=HOST:PORT&scheme=http)",
    ),
)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A finished object."""

    name: str
    num_bytes: int


class ObjectFolder:
    """The objects under `url`. Names are relative to it and may hold slashes.

    Raises StoreWriteError for what the store or the network refuses (it may heal).
    """

    def __init__(self, filesystem: fs.FileSystem, prefix: str, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs = filesystem
        self._prefix = prefix.strip("/")

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`url` with a path that is taken as it stands, and a query that Arrow understands. Raises
        StoreError.
        """
        shown = url.partition("?")[0]
        try:
            filesystem, prefix = open_file_system(url)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"{shown} cannot be used: {object_error_reason(error)}") from error
        return cls(filesystem, prefix, shown)

    def within(self, folder: str) -> "ObjectFolder":
        """The objects one level deeper."""
        return ObjectFolder(self._fs, self._path(folder), f"{self.url}/{folder}")

    def put(self, name: str, data: bytes) -> None:
        """Write a whole object; it is durable after the return."""
        try:
            stream = self._fs.open_output_stream(self._path(name))
            stream.write(data)
            stream.close()
        except (pa.ArrowException, OSError) as error:
            raise self._failed("write", name, error) from error

    def upload(self, name: str, path: Path) -> None:
        """Write the local file `path` as an object; it is durable after the return."""
        with path.open("rb") as file:
            try:
                stream = self._fs.open_output_stream(self._path(name))
                while data := self._read_for(stream, name, file):
                    stream.write(data)
                stream.close()
                info = self._fs.get_file_info(self._path(name))
            except (pa.ArrowException, OSError) as error:
                raise self._failed("write", name, error) from error
        if info.size != path.stat().st_size:
            self.delete([name])
            raise StoreWriteError(f"{self.url}/{name} was not written whole")

    def download(self, name: str, path: Path) -> None:
        """Copy an object to the new local file `path`. Raises FileNotFoundError, OSError."""
        with path.open("xb") as file:
            try:
                source = self._fs.open_input_stream(self._path(name))
            except FileNotFoundError:
                raise
            except (pa.ArrowException, OSError) as error:
                raise self._failed("read", name, error) from error
            with source:
                while data := source.read(_COPY_BYTES):
                    file.write(data)

    def read(self, name: str) -> bytes:
        """The bytes of an object. Raises FileNotFoundError."""
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                data: bytes = stream.read()
                return data
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._failed("read", name, error) from error

    def open(self, name: str) -> Any:
        """An object as a seekable Arrow file. Raises FileNotFoundError."""
        try:
            return self._fs.open_input_file(self._path(name))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise self._failed("read", name, error) from error

    def listing(self) -> list[ObjectInfo]:
        """The objects right here, by name. More than fit one answer of the store are listed until
        two listings agree: between two answers something may be replaced.
        """
        seen = self._list_once()
        for _ in range(_RETRIES):
            if len(seen) < _WHOLE_LISTING:
                return seen
            again = self._list_once()
            if again == seen:
                return seen
            seen = again
        raise StoreWriteError(f"the objects in {self.url} change faster than they can be listed")

    def folders(self) -> list[str]:
        """The names one level deeper that have objects below them."""
        return [info.base_name for info in self._infos() if info.type == fs.FileType.Directory]

    def rename(self, name: str, new_name: str) -> None:
        """Give an object another name; on most stores it is copied, then deleted."""
        try:
            self._fs.move(self._path(name), self._path(new_name))
        except (pa.ArrowException, OSError) as error:
            raise self._failed("rename", name, error) from error

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are no trouble."""
        for name in names:
            try:
                self._fs.delete_file(self._path(name))
            except FileNotFoundError:
                continue
            except (pa.ArrowException, OSError) as error:
                raise self._failed("delete", name, error) from error

    def delete_folder(self, folder: str) -> None:
        """Delete all objects below `folder`."""
        try:
            self._fs.delete_dir(self._path(folder))
        except FileNotFoundError:
            return
        except (pa.ArrowException, OSError) as error:
            raise self._failed("delete", folder, error) from error

    def _read_for(self, stream: Any, name: str, file: BinaryIO) -> bytes:
        """The next piece of an upload. Dropping the stream would make what was sent an object."""
        try:
            return file.read(_COPY_BYTES)
        except OSError:
            with contextlib.suppress(pa.ArrowException, OSError):
                stream.close()
            self.delete([name])
            raise

    def _list_once(self) -> list[ObjectInfo]:
        files = (info for info in self._infos() if info.type == fs.FileType.File)
        return sorted(
            (ObjectInfo(info.base_name, info.size) for info in files), key=lambda each: each.name
        )

    def _infos(self) -> list[fs.FileInfo]:
        try:
            return list(self._fs.get_file_info(fs.FileSelector(self._prefix, allow_not_found=True)))
        except (pa.ArrowException, OSError) as error:
            raise StoreWriteError(
                f"cannot list {self.url}: {object_error_reason(error)}"
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _failed(self, action: str, name: str, error: Exception) -> StoreWriteError:
        return StoreWriteError(f"cannot {action} {self.url}/{name}: {object_error_reason(error)}")


def object_error_reason(error: Exception) -> str:
    """What Arrow and the store say, as the end of a sentence that helps."""
    text = " ".join(str(error).split())[:500]
    for pattern, reason in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"{reason} ({text})"
    return text


def open_file_system(url: str) -> tuple[fs.FileSystem, str]:
    """Arrow's file system for `url`, and the path in it: of an object store, as it stands there.
    Raises Arrow's errors, ValueError.
    """
    shown, _, query = url.partition("?")
    scheme, _, place = shown.partition("://")
    if scheme not in _SETTINGS:
        return fs.FileSystem.from_uri(url)
    bucket, slash, path = place.partition("/")
    settings = [query] if query else []
    settings += [
        f"{name}={value}" for name, value in _SETTINGS[scheme] if name not in dict(parse_qsl(query))
    ]
    quoted = f"{scheme}://{bucket}{slash}{quote(path)}"
    filesystem, prefix = fs.FileSystem.from_uri("?".join([quoted, "&".join(settings)]).rstrip("?"))
    return filesystem, prefix
