import random
from collections.abc import Sequence

import pytest

import jobs.part_rows
from jobs.errors import StoreDamagedError, StoreWriteError
from jobs.object_store import ObjectPartStore
from jobs.result_table import table_to_rows
from schemas.result import ResultRow
from tests.jobs.builders import make_row
from tests.jobs.object_fake import FakeStore

BATCH = "batch_a"


@pytest.fixture
def fake() -> FakeStore:
    return FakeStore()


def opened(fake: FakeStore) -> ObjectPartStore:
    return ObjectPartStore.open(fake.folder(), BATCH)


def rows_of(*indexes: int, **cells: object) -> list[ResultRow]:
    return [make_row(idx, **cells) for idx in indexes]


def stored(store: ObjectPartStore) -> dict[int, ResultRow]:
    rows = [row for part in store.parts for row in table_to_rows(store.read(part))]
    assert len({row.idx for row in rows}) == len(rows), "two rows for one line"
    return {row.idx: row for row in rows}


def failing(fake: FakeStore, action: str, times: int = 1) -> None:
    left = [times]

    def fail(now: str, _path: str) -> None:
        if now == action and left[0]:
            left[0] -= 1
            raise OSError(5, "AWS Error NETWORK_CONNECTION")

    fake.fail = fail


def test_what_was_appended_is_found_by_the_next_process(fake: FakeStore) -> None:
    store = opened(fake)
    report = store.append(rows_of(0, 2, 2))
    assert (report.num_rows, report.num_known) == (2, 1)
    assert store.append(rows_of(2, 1)).num_rows == 1
    again = opened(fake)
    assert stored(again) == {idx: make_row(idx) for idx in (0, 1, 2)}
    assert list(again.done) == [0, 1, 2]


def test_a_failed_upload_stores_nothing_and_may_be_repeated(fake: FakeStore) -> None:
    store = opened(fake)
    failing(fake, "put")
    with pytest.raises(StoreWriteError, match=r"cannot write s3://bucket/prefix/part-.*reached"):
        store.append(rows_of(0, 1))
    assert not fake.objects
    assert not store.done
    assert store.append(rows_of(0, 1)).num_rows == 2


def test_an_upload_whose_answer_was_lost_is_not_stored_twice(fake: FakeStore) -> None:
    store = opened(fake)
    failing(fake, "stored")
    with pytest.raises(StoreWriteError):
        store.append(rows_of(0, 1))
    assert store.append(rows_of(0, 1, 2)).num_rows == 1
    assert sorted(stored(store)) == [0, 1, 2]


def test_a_line_that_two_writers_stored_has_one_row_for_every_reader(fake: FakeStore) -> None:
    first, second = opened(fake), opened(fake)
    late: list[ResultRow] = rows_of(1, 2, content="second")

    def race(action: str, _path: str) -> None:
        """The other writer stores its part after the first one has looked."""
        if action == "put" and late:
            rows, late[:] = list(late), []
            second.append(rows)

    fake.fail = race
    first.append(rows_of(0, 1, content="first"))
    first.refresh()
    second.refresh()
    results = [stored(store) for store in (first, second, opened(fake))]
    assert results[0] == results[1] == results[2]
    assert sorted(results[0]) == [0, 1, 2]


def test_many_writers_at_once_end_with_one_row_for_each_line(fake: FakeStore) -> None:
    draws = random.Random(3)
    writers = [opened(fake) for _ in range(3)]
    for _ in range(30):
        writer = draws.choice(writers)
        pick = sorted(draws.sample(range(60), 6))
        if draws.random() < 0.4:  # a writer that has not seen what is new
            writer.refresh = lambda: None  # type: ignore[method-assign]
        writer.append(rows_of(*pick))
        writer.__dict__.pop("refresh", None)
    again = opened(fake)
    rows = stored(again)
    assert rows == {idx: make_row(idx) for idx in again.done}
    for writer in writers:
        writer.refresh()
        assert stored(writer) == rows


def test_small_parts_are_put_together(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.part_rows, "_MAX_SMALL_PARTS", 4)
    store = opened(fake)
    for idx in range(30):
        store.append(rows_of(idx))
        assert len(fake.objects) <= 5
    assert stored(opened(fake)) == {idx: make_row(idx) for idx in range(30)}


def test_a_crash_between_putting_together_and_deleting_is_harmless(
    fake: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.part_rows, "_MAX_SMALL_PARTS", 4)
    store = opened(fake)
    for idx in range(4):
        store.append(rows_of(idx))
    failing(fake, "delete")
    assert store.append(rows_of(4)).num_rows == 1
    assert len(fake.objects) == 5
    assert sorted(stored(store)) == list(range(5))
    assert stored(opened(fake)) == {idx: make_row(idx) for idx in range(5)}
    assert store.append(rows_of(4, 5)).num_rows == 1
    assert sorted(stored(store)) == list(range(6))


def test_parts_that_are_put_together_while_they_are_read_are_found_again(
    fake: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(fake)
    for idx in range(4):
        store.append(rows_of(idx))
    monkeypatch.setattr(jobs.part_rows, "_MAX_SMALL_PARTS", 4)
    pending: Sequence[ResultRow] = rows_of(4)
    waiting = [pending]

    def put_together(action: str, _path: str) -> None:
        if action == "read" and waiting:
            store.append(waiting.pop())

    fake.fail = put_together
    assert sorted(stored(opened(fake))) == list(range(5))


def test_an_object_of_another_size_or_kind_is_named_and_its_rows_count_as_missing(
    fake: FakeStore,
) -> None:
    store = opened(fake)
    store.append(rows_of(0))
    store.append(rows_of(1))
    torn, other = sorted(fake.objects)
    fake.objects[torn] = fake.objects[torn][:-1]
    fake.objects[other.replace("part-1", "notes-1")] = b"something else"
    again = opened(fake)
    assert list(again.done) == [1]
    assert len(again.damage) == 1
    assert torn.rpartition("/")[2] in again.damage[0]
    again.append(rows_of(0))
    assert sorted(stored(opened(fake))) == [0, 1]


def test_a_part_with_other_bytes_is_set_aside_when_it_is_read(fake: FakeStore) -> None:
    store = opened(fake)
    store.append(rows_of(0, content="x" * 50))
    (name,) = fake.objects
    data = bytearray(fake.objects[name])
    data[200] ^= 1
    fake.objects[name] = bytes(data)
    with pytest.raises(StoreDamagedError, match="damaged"):
        store.read(store.parts[0])
    assert not opened(fake).done


def test_a_part_that_somebody_deleted_is_missing(fake: FakeStore) -> None:
    store = opened(fake)
    store.append(rows_of(0))
    store.append(rows_of(1))
    del fake.objects[min(fake.objects)]
    with pytest.raises(StoreDamagedError, match="is missing"):
        stored(store)
    store.refresh()
    assert list(store.done) == [1]


def test_a_number_that_does_not_fit_is_refused(fake: FakeStore) -> None:
    store = opened(fake)
    with pytest.raises((ValueError, OverflowError)):
        store.append(rows_of(1 << 40))
    assert not fake.objects
