"""Final files as objects, and what earlier runs left in the same place.

Objects are replaced one by one, each whole; `run.json` leaves first and comes back last, so that
where it stands, the objects next to it belong together.

Owns: the order of uploads, fetching of earlier rows. Must not know: formats, the queue.
"""

import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import StoreError
from jobs.object_folder import ObjectFolder
from jobs.sinks.target import Target, TargetKind, remote_state_url

__all__ = ["EarlierResults", "are_all_uploaded", "upload_final_files", "uploaded_files"]

_log = logging.getLogger(__name__)

_RUN_MANIFEST = "run.json"
_RESULT_FILE = re.compile(
    r"(output|errors)\.jsonl|run\.json|results(-\d{5,})?\.parquet"
)  # what a folder target holds


def upload_final_files(target: Target, paths: Sequence[Path]) -> list[str]:
    """Make `paths`, of which `run.json` is the last if there is one, the objects of `target`; their
    URLs. Raises StoreWriteError; repeating heals what a failure left.
    """
    place = _place(target)
    stale = {name for name in _names(target, place) if name != _RUN_MANIFEST}
    is_folder = target.kind is TargetKind.FOLDER
    if is_folder:
        place.delete([_RUN_MANIFEST])
    names = [path.name if is_folder else target.name for path in paths]
    for path, name in zip(paths, names, strict=True):
        if name == _RUN_MANIFEST:
            place.delete(stale - set(names))
        place.upload(name, path)
    return [f"{place.url}/{name}" for name in names]


def uploaded_files(target: Target) -> list[str]:
    """The URLs of the objects of `target` that exist now. Raises StoreWriteError."""
    place = _place(target)
    return [f"{place.url}/{name}" for name in _names(target, place)]


def are_all_uploaded(target: Target) -> bool:
    """Whether every result object is there. Raises StoreWriteError."""
    place = _place(target)
    there = set(_names(target, place))
    if target.kind is not TargetKind.FOLDER:
        return bool(there)
    try:
        return there.issuperset(json.loads(place.read(_RUN_MANIFEST))["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


class EarlierResults:
    """The rows that earlier runs left at an object target, whichever machine they ran on."""

    def __init__(self, target: Target, batch_id: str) -> None:
        """Look for the parts of other batches than `batch_id`. Raises StoreWriteError."""
        self._target = target
        self._state = ObjectFolder.from_url(remote_state_url(target))
        self._batch_ids = [name for name in self._state.folders() if name != batch_id]

    def fetch(self, scratch: Path) -> list[Path]:
        """Copy them to the local folder `scratch`, emptied first: parts, then the result files.
        One that cannot be read is left out with a warning: its rows are computed again.
        """
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        wanted = [
            (folder, info.name)
            for folder in map(self._state.within, self._batch_ids)
            for info in folder.listing()
        ]
        place = _place(self._target)
        wanted += [(place, name) for name in _names(self._target, place)]
        paths: list[Path] = []
        for folder, name in wanted:
            if not name.endswith(".parquet"):
                continue
            path = scratch / f"{len(paths):06d}.parquet"
            try:
                folder.download(name, path)
            except (FileNotFoundError, StoreError) as error:
                _log.warning("earlier results in %s/%s cannot be read: %s", folder.url, name, error)
                path.unlink(missing_ok=True)
            else:
                paths.append(path)
        return paths

    def remove(self) -> None:
        """Delete the parts of those batches: the run that took them over is complete."""
        for batch_id in self._batch_ids:
            try:
                self._state.delete_folder(batch_id)
            except StoreError as error:
                _log.warning("%s", error)


def _place(target: Target) -> ObjectFolder:
    """Where the final objects of `target` lie."""
    assert target.url is not None
    if target.kind is TargetKind.FOLDER:
        return ObjectFolder.from_url(target.url)
    url, _, query = target.url.partition("?")
    parent = url.removesuffix(f"/{target.name}")
    return ObjectFolder.from_url(f"{parent}?{query}" if query else parent)


def _names(target: Target, place: ObjectFolder) -> list[str]:
    names = [info.name for info in place.listing()]
    if target.kind is TargetKind.FOLDER:
        return [name for name in names if _RESULT_FILE.fullmatch(name)]
    return [name for name in names if name == target.name]
