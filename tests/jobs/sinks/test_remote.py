import json
from pathlib import Path

import pytest

from jobs.errors import StoreWriteError, TargetError
from jobs.object_folder import ObjectFolder
from jobs.object_store import ObjectPartStore
from jobs.producers.reuse import ReuseIndex
from jobs.result_store import open_result_store
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.remote import EarlierResults, are_all_uploaded, uploaded_files
from jobs.sinks.target import Target, parse_target, prepare_target
from tests.jobs.builders import make_row
from tests.jobs.object_fake import FakeStore

FACTS = RunFacts(input_path="in.jsonl", input_sha256="0" * 64)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    fake = FakeStore()

    def from_url(url: str) -> ObjectFolder:
        return fake.folder(url.partition("?")[0].removeprefix("s3://"))

    monkeypatch.setattr(ObjectFolder, "from_url", from_url)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return fake


def target_at(url: str) -> Target:
    target = parse_target(url)
    prepare_target(target)
    return target


def write(target: Target, *statuses: int, batch_id: str = "batch_a") -> list[str]:
    store = open_result_store(target, Path("unused"), batch_id)
    assert isinstance(store, ObjectPartStore)
    rows = [make_row(idx, status_code=status) for idx, status in enumerate(statuses)]
    store.append(rows[1:])
    store.append(rows[:1])
    return [str(file) for file in write_final_files(target, store, facts=FACTS).files]


def results(fake: FakeStore) -> list[str]:
    return sorted(name for name in fake.objects if "headrace/" not in name)


def test_a_folder_of_results(fake: FakeStore) -> None:
    target = target_at("s3://b/out")
    files = write(target, 200, 500, 200)
    names = ["errors.jsonl", "output.jsonl", "results.parquet", "run.json"]
    assert results(fake) == [f"b/out/{name}" for name in names]
    assert sorted(files) == [f"s3://b/out/{name}" for name in names]
    lines = fake.objects["b/out/output.jsonl"].splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == ["request-0", "request-2"]
    assert are_all_uploaded(target)
    assert sorted(uploaded_files(target)) == sorted(files)


def test_objects_that_the_new_results_lack_are_removed(fake: FakeStore) -> None:
    target = target_at("s3://b/out")
    write(target, 200, 500)
    fake.objects["b/out/mine.txt"] = b"keep"
    write(target, 200, batch_id="batch_b")
    names = ["mine.txt", "output.jsonl", "results.parquet", "run.json"]
    assert results(fake) == [f"b/out/{name}" for name in names]


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.PARQUET"])
def test_one_file(fake: FakeStore, name: str) -> None:
    target = target_at(f"s3://b/{name}?region=here")
    assert not are_all_uploaded(target)
    assert write(target, 200, 400) == [f"s3://b/{name}"]
    assert results(fake) == [f"b/{name}"]
    assert are_all_uploaded(target)


def test_where_run_json_stands_the_files_belong_together(fake: FakeStore) -> None:
    target = target_at("s3://b/out")
    write(target, 200)

    def fail(action: str, path: str) -> None:
        if action == "put" and path.endswith("results.parquet"):
            raise OSError(5, "gone")

    fake.fail = fail
    with pytest.raises(StoreWriteError, match=r"s3://b/out/results\.parquet"):
        write(target, 200, 200, batch_id="batch_b")
    assert "b/out/run.json" not in fake.objects
    assert not are_all_uploaded(target)
    fake.fail = lambda _action, _path: None
    write(target, 200, 200, batch_id="batch_b")
    assert are_all_uploaded(target)


def test_rows_of_earlier_runs_are_found_on_any_machine(fake: FakeStore, tmp_path: Path) -> None:
    target = target_at("s3://b/out")
    store = open_result_store(target, Path("unused"), "batch_a")
    store.append([make_row(0), make_row(1)])  # a run that was killed
    earlier = EarlierResults(target, "batch_b")
    files = earlier.fetch(tmp_path / "earlier")
    assert len(ReuseIndex(files, "engine")) == 2
    write(target, 200, batch_id="batch_b")
    earlier.remove()
    assert not [name for name in fake.objects if "batch_a" in name]
    assert [name for name in fake.objects if "batch_b" in name]
    files = EarlierResults(target, "batch_c").fetch(tmp_path / "earlier")
    assert len(files) == 2, "the part of batch_b, and results.parquet"


def test_what_cannot_be_written_is_refused_before_anything_runs(fake: FakeStore) -> None:
    def fail(action: str, _path: str) -> None:
        if action == "put":
            raise OSError("AWS Error NO_SUCH_BUCKET during PutObject operation")

    fake.fail = fail
    with pytest.raises(TargetError, match=r"s3://b/out.*the bucket does not exist"):
        target_at("s3://b/out")
