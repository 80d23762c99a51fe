import pyarrow as pa
import pytest

from jobs.errors import InputError
from jobs.tables.memory_source import MemorySource


def test_a_table_in_memory_is_a_source() -> None:
    words = pa.chunked_array([["a"], ["b", None]]).dictionary_encode()
    source = MemorySource(pa.table({"n": [1, 2, 3], "w": words}))
    assert source.schema == pa.schema([("n", pa.int64()), ("w", pa.string())])
    assert source.num_rows == 3
    rows = [row for piece in source.rows(["w"]) for row in piece]
    assert rows == [{"w": "a"}, {"w": "b"}, {"w": None}]
    assert len([row for piece in source.rows([]) for row in piece]) == 3
    batches = list(source.batches(["w", "n"]))
    assert next(row for batch in batches for row in batch.to_pylist()) == {"w": "a", "n": 1}
    source.check_unchanged()


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="the frame has two columns"):
        MemorySource(pa.table([[1], [2]], names=["a", "a"]), name="the frame")
