import errno
import json
import os
from pathlib import Path

import pytest

from jobs.errors import StoreError, StoreWriteError
from jobs.manifests import Manifest, ManifestLog
from jobs.parts import Part
from tests.jobs.builders import names_in


def part(name: str) -> Part:
    return Part(
        file=name, num_rows=1, num_bytes=10, raw_bytes=20, first_idx=0, last_idx=0, checksum="c"
    )


@pytest.fixture
def log(tmp_path: Path) -> ManifestLog:
    return ManifestLog(tmp_path, "batch_a")


def publish(log: ManifestLog, *names: str) -> None:
    for version, _ in enumerate(names, start=1):
        assert log.publish(Manifest(version, tuple(part(name) for name in names[:version])))


def test_an_empty_folder_is_version_zero(log: ManifestLog) -> None:
    assert log.newest().manifest == Manifest(0)


def test_the_newest_version_counts(log: ManifestLog) -> None:
    publish(log, "a", "b", "c")
    reading = log.newest()
    assert reading.manifest == Manifest(3, (part("a"), part("b"), part("c")))
    assert reading.damaged == ()


def test_a_version_is_published_once(log: ManifestLog, tmp_path: Path) -> None:
    publish(log, "a")
    other = ManifestLog(tmp_path, "batch_a")
    assert not other.publish(Manifest(1, (part("mine"),)))
    assert other.newest().manifest.parts == (part("a"),)


def test_names_of_old_versions_stay_taken_after_they_are_emptied(
    log: ManifestLog, tmp_path: Path
) -> None:
    publish(log, "a", "b", "c", "d")
    assert (tmp_path / "manifest.00000002.json").stat().st_size == 0
    assert (tmp_path / "manifest.00000003.json").stat().st_size > 0
    assert not log.publish(Manifest(1))
    assert not log.publish(Manifest(2))
    assert log.newest().manifest.version == 4


@pytest.mark.parametrize("harm", ["truncate", "empty", "flip", "not json", "list"])
def test_a_damaged_newest_manifest_is_passed_over_and_named(
    log: ManifestLog, tmp_path: Path, harm: str
) -> None:
    publish(log, "a", "b", "c")
    path = tmp_path / "manifest.00000003.json"
    text = path.read_text()
    harmed = {
        "truncate": text[:-20],
        "empty": "",
        "flip": text.replace('"num_rows": 1', '"num_rows": 2', 1),
        "not json": "manifest",
        "list": "[]",
    }
    path.write_text(harmed[harm])
    reading = log.newest()
    assert reading.damaged == ("manifest.00000003.json",)
    # The next version must lie above the damaged one, whose name is taken.
    assert reading.manifest == Manifest(3, (part("a"), part("b")))


def test_with_every_manifest_damaged_the_version_still_rises(
    log: ManifestLog, tmp_path: Path
) -> None:
    publish(log, "a", "b")
    for path in tmp_path.glob("manifest.*"):
        path.write_text("")
    reading = log.newest()
    assert reading.manifest == Manifest(2)
    assert len(reading.damaged) == 2


def test_another_batch_is_refused_by_name(log: ManifestLog, tmp_path: Path) -> None:
    publish(log, "a")
    with pytest.raises(StoreError, match="holds results of batch_a, not batch_b"):
        ManifestLog(tmp_path, "batch_b").newest()


def test_a_newer_format_is_refused_not_passed_over(log: ManifestLog, tmp_path: Path) -> None:
    publish(log, "a")
    (tmp_path / "manifest.00000002.json").write_text(json.dumps({"format": 2, "parts": {}}))
    with pytest.raises(StoreError, match="format 2"):
        log.newest()


def test_a_file_system_without_links_gives_one_clear_sentence(
    log: ManifestLog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    for attempt in (log.probe, lambda: log.publish(Manifest(1))):
        with pytest.raises(StoreWriteError, match="no hard links") as caught:
            attempt()
        assert str(tmp_path) in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_link_whose_answer_was_lost_counts_as_won(
    log: ManifestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def link_and_lose_the_answer(*args: str, **kwargs: bool) -> None:
        link(*args, **kwargs)
        raise FileExistsError(errno.EEXIST, "as NFS says on the retry")

    monkeypatch.setattr(os, "link", link_and_lose_the_answer)
    assert log.publish(Manifest(1, (part("a"),)))
    assert log.newest().manifest.parts == (part("a"),)


def test_a_manifest_that_is_a_link_is_not_followed(log: ManifestLog, tmp_path: Path) -> None:
    publish(log, "a")
    good = tmp_path / "manifest.00000001.json"
    good.rename(tmp_path / "elsewhere")
    good.symlink_to(tmp_path / "elsewhere")
    assert log.newest().damaged == ("manifest.00000001.json",)
