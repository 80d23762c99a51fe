import errno
import os
from pathlib import Path

import pytest

from jobs.errors import TargetError
from jobs.sinks.target import (
    Target,
    TargetKind,
    parse_target,
    prepare_target,
    remote_state_url,
)
from tests.jobs.builders import names_in


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "kind", "state"),
    [
        ("x.jsonl", TargetKind.JSONL, ".x.jsonl.headrace"),
        ("x.PARQUET", TargetKind.PARQUET, ".x.PARQUET.headrace"),
        ("results", TargetKind.FOLDER, "results/.headrace"),
        ("out.v2", TargetKind.FOLDER, "out.v2/.headrace"),
        ("odd.csv/", TargetKind.FOLDER, "odd.csv/.headrace"),
        ("./redis", TargetKind.FOLDER, "redis/.headrace"),
        (".", TargetKind.FOLDER, ".headrace"),
    ],
)
def test_the_name_tells_the_kind(text: str, kind: TargetKind, state: str, tmp_path: Path) -> None:
    target = parse_target(text)
    assert target.kind is kind
    assert target.state_folder == tmp_path / state
    prepare_target(target)
    assert (tmp_path / state).is_dir()
    assert target.folder == (tmp_path / state).parent


@pytest.mark.parametrize("suffix", [".csv", ".arrow", ".feather"])
@pytest.mark.parametrize("place", ["", "file:///data/", "s3://bucket/"])
def test_tables_have_formats_that_results_do_not(place: str, suffix: str) -> None:
    text = f"{place}x{suffix}"
    target = parse_target(text, is_table=True)
    assert (target.kind, target.name) == (TargetKind.TABLE, f"x{suffix}")
    assert target.state_folder is not None
    with pytest.raises(TargetError, match=r"use .jsonl, .parquet or a folder"):
        parse_target(text)
    with pytest.raises(TargetError, match=r"use .jsonl, .parquet, .arrow, .csv, .feather or"):
        parse_target("x.xlsx", is_table=True)


def test_redis_has_no_files() -> None:
    target = parse_target("redis")
    assert (target.kind, target.path, target.state_folder) == (TargetKind.REDIS, None, None)
    prepare_target(target)
    assert target.final_files() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "empty"),
        ("-", "cannot go to standard output"),
        ("ftp://host/x", "unknown scheme 'ftp'; use s3://, gs:// or file://"),
        ("s3:///folder", "names no bucket"),
        ("s3://[bucket/x", "no usable URL"),
        ("s3://key:secret@bucket/x", "holds credentials"),
        ("s3://bucket/x.csv", r"\.csv"),
        ("s3://bucket/a#b", "'#'"),
        ("file://host/x", "file:///folder/name"),
        ("results.csv", r"\.csv"),
        ("results.json", r"\.json"),
        ("results.jsonl.gz", r"\.gz"),
    ],
)
def test_what_cannot_be_an_output_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        parse_target(text)


def test_a_folder_named_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(TargetError, match="is a folder"):
        parse_target("x.jsonl")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(TargetError, match="is a file, not a folder"):
        prepare_target(parse_target("out"))


def test_a_device_is_refused() -> None:
    with pytest.raises(TargetError, match="not a folder"):
        prepare_target(parse_target("/dev/null"))


@pytest.mark.parametrize("text", ["missing/out", "missing/x.jsonl"])
def test_a_missing_parent_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist") as caught:
        prepare_target(parse_target(text))
    assert str(tmp_path / "missing") in str(caught.value)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
def test_the_input_is_never_the_output(tmp_path: Path, link: str) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("precious")
    output = source if link == "same" else tmp_path / "out.jsonl"
    if link == "symbolic":
        output.symlink_to(source)
    elif link == "hard":
        output.hardlink_to(source)
    with pytest.raises(TargetError, match="is the input file"):
        prepare_target(parse_target(str(output)), source)
    assert source.read_text() == "precious"
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("name", ["output.jsonl", "errors.jsonl", "results-00001.parquet"])
def test_an_input_that_a_folder_would_replace_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    source = tmp_path / "out" / name
    source.write_text("precious")
    with pytest.raises(TargetError, match="is the input file"):
        prepare_target(parse_target("out"), source)


def test_an_input_elsewhere_in_the_folder_is_fine(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("x")
    (tmp_path / "output.jsonl").write_text("an earlier run")
    prepare_target(parse_target("."), tmp_path / "in.jsonl")


def test_a_link_as_output_stands_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "x.jsonl").symlink_to(tmp_path / "scratch" / "y.jsonl")
    target = parse_target("x.jsonl")
    assert target == Target(TargetKind.JSONL, tmp_path / "scratch" / "y.jsonl")


def test_a_state_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".x.jsonl.headrace").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError, match="symbolic link"):
        prepare_target(parse_target("x.jsonl"))


def test_a_file_in_the_place_of_the_state_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".x.jsonl.headrace").write_text("")
    with pytest.raises(TargetError, match="in the way"):
        prepare_target(parse_target("x.jsonl"))


def test_an_unwritable_place_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    target = parse_target("out")
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        with pytest.raises(TargetError, match="cannot be written: the file system is read-only"):
            prepare_target(target)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(TargetError, match="not writable"):
        prepare_target(target)


def test_links_in_a_circle_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    with pytest.raises(TargetError, match="cannot be resolved"):
        parse_target("a.jsonl")


@pytest.mark.parametrize(
    ("text", "kind", "name", "state"),
    [
        ("s3://b", TargetKind.FOLDER, "", "s3://b/.headrace"),
        ("s3://b/deep/out/", TargetKind.FOLDER, "out", "s3://b/deep/out/.headrace"),
        ("gs://b/x.jsonl", TargetKind.JSONL, "x.jsonl", "gs://b/.x.jsonl.headrace"),
        (
            "s3://b/d/x.PARQUET?region=eu-west-1",
            TargetKind.PARQUET,
            "x.PARQUET",
            "s3://b/d/.x.PARQUET.headrace?region=eu-west-1",
        ),
        ("S3://b/x.jsonl/", TargetKind.FOLDER, "x.jsonl", "s3://b/x.jsonl/.headrace"),
    ],
)
def test_urls_of_object_stores(
    text: str,
    kind: TargetKind,
    name: str,
    state: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    target = parse_target(text)
    assert (target.kind, target.path) == (kind, None)
    assert remote_state_url(target) == state
    assert target.state_folder is not None
    assert target.state_folder.parent == tmp_path / "headrace"
    again = parse_target(str(target))
    assert again.state_folder == target.state_folder
    if name != "x.jsonl" or kind is TargetKind.JSONL:
        assert again == target
    assert target.name == name


def test_two_urls_do_not_share_a_state_folder() -> None:
    first, second = parse_target("s3://a/x"), parse_target("s3://b/x")
    assert first.state_folder != second.state_folder


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    assert parse_target(f"file://{tmp_path}/a%20b.jsonl") == Target(
        TargetKind.JSONL, tmp_path / "a b.jsonl"
    )
