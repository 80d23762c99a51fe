"""The log of manifests: which parts of the results are valid, published by compare-and-set.

A manifest is a file `manifest.<n>.json`. Version n + 1 is published with link(2), which fails if
that name exists, so that of two writers that both saw version n exactly one succeeds (the commit
rule of a Delta log). Names are never used twice: a manifest that two newer ones have superseded is
emptied, and its name stays.

Owns: the files' format, reading the newest valid one, publishing. Must not know: what is in parts.
"""

import errno
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from jobs.durable import read_plain_file, storage_error, sync_folder, write_new_file
from jobs.errors import StoreError, StoreWriteError
from jobs.parts import Part

__all__ = ["Manifest", "ManifestLog", "ManifestReading"]

_FORMAT = 1
_NAME = re.compile(r"manifest\.(\d+)\.json")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_RETRIES = 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts that hold the results as of `version`; version 0 is the empty beginning."""

    version: int
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class ManifestReading:
    """What the folder says. `damaged` names manifests newer than the one that was readable;
    `manifest.version` counts them, so that the next version lies above.
    """

    manifest: Manifest
    damaged: tuple[str, ...] = ()


class ManifestLog:
    """The manifests of one batch in one folder, which must exist."""

    def __init__(self, folder: Path, batch_id: str) -> None:
        self._folder = folder
        self._batch_id = batch_id

    def newest(self) -> ManifestReading:
        """The newest valid manifest. Falls back past damaged ones, which are named. Raises
        StoreError if it is of another batch or of a newer format.
        """
        for _ in range(_RETRIES):
            versions = self._versions()
            damaged: list[str] = []
            manifest = Manifest(0)
            for version in versions:
                parts = self._read(version)
                if parts is not None:
                    manifest = Manifest(versions[0], parts)
                    break
                damaged.append(self._path(version).name)
            else:
                manifest = Manifest(versions[0] if versions else 0)
            # What looks damaged may have been emptied under our eyes by a writer that published.
            if not damaged or self._versions() == versions:
                return ManifestReading(manifest, tuple(damaged))
        raise StoreError(f"the manifests in {self._folder} change faster than they can be read")

    def publish(self, manifest: Manifest) -> bool:
        """Make `manifest` the newest; False if its version exists already (another writer was
        faster). Raises StoreWriteError; then it is not published, or is and `newest` shows it.
        """
        temporary = self._folder / f".manifest-{secrets.token_hex(8)}.tmp"
        try:
            write_new_file(temporary, self._encode(manifest))
            try:
                won = self._link(temporary, self._path(manifest.version))
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(self._folder)
            self._empty(manifest.version - 2)
        except OSError as error:
            raise storage_error("publish a manifest in", self._folder, error) from error
        return won

    def probe(self) -> None:
        """Find out now whether files can be written, flushed and linked here. Raises
        StoreWriteError with the reason.
        """
        first = self._folder / f".probe-{secrets.token_hex(8)}.tmp"
        second = first.with_suffix(".link.tmp")
        try:
            try:
                write_new_file(first, b"headrace\n")
                self._link(first, second)
            finally:
                first.unlink(missing_ok=True)
                second.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error("write in", self._folder, error) from error

    def _link(self, temporary: Path, final: Path) -> bool:
        try:
            final.hardlink_to(temporary)
        except FileExistsError:
            # Over NFS the answer to a link that succeeded may get lost and the retry finds it.
            return temporary.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise StoreWriteError(
                f"the file system of {self._folder} has no hard links, which publishing results "
                "safely needs; write to a local disk and copy the files afterwards",
                errno=error.errno,
            ) from error
        return True

    def _empty(self, version: int) -> None:
        path = self._path(version)
        if version > 0 and path.exists():
            os.truncate(path, 0)

    def _versions(self) -> list[int]:
        """All version numbers in the folder, newest first."""
        found = (_NAME.fullmatch(name) for name in os.listdir(self._folder))  # noqa: PTH208
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def _path(self, version: int) -> Path:
        return self._folder / f"manifest.{version:08d}.json"

    def _encode(self, manifest: Manifest) -> bytes:
        content: dict[str, Any] = {
            "format": _FORMAT,
            "version": manifest.version,
            "batch_id": self._batch_id,
            "parts": [asdict(part) for part in manifest.parts],
        }
        return json.dumps({**content, "checksum": _checksum(content)}).encode()

    def _read(self, version: int) -> tuple[Part, ...] | None:
        """The parts of one version; None if it is damaged, emptied or gone."""
        path = self._path(version)
        try:
            content = json.loads(read_plain_file(path))
            found = content["format"]
            if found == _FORMAT:
                checksum = content.pop("checksum")
                if checksum != _checksum(content) or content["version"] != version:
                    return None
                batch_id = content["batch_id"]
                parts = tuple(Part(**part) for part in content["parts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if found != _FORMAT:
            raise StoreError(f"{path} has format {found!r}; this version reads {_FORMAT}")
        if batch_id != self._batch_id:
            raise StoreError(f"{self._folder} holds results of {batch_id}, not {self._batch_id}")
        return parts


def _checksum(content: dict[str, Any]) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())
