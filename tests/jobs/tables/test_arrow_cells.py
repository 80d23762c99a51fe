from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import InputError
from jobs.tables.arrow_cells import cells_of, conform, plain_schema


def test_ways_of_storing_are_not_types() -> None:
    schema = pa.schema(
        [
            ("a", pa.dictionary(pa.int8(), pa.large_string())),
            ("b", pa.run_end_encoded(pa.int32(), pa.int64())),
            ("c", pa.binary_view()),
            ("d", pa.list_(pa.int8())),
        ],
        metadata={"x": "y"},
    )
    plain = plain_schema(schema, "t")
    assert plain.types == [pa.large_string(), pa.int64(), pa.binary(), pa.list_(pa.int8())]
    assert plain.metadata is None


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="t has two columns that are called 'a'"):
        plain_schema(pa.schema([("a", pa.int8()), ("a", pa.int8())]), "t")


def test_a_batch_gets_exactly_the_columns_that_are_asked_for() -> None:
    schema = pa.schema([("p", pa.int32()), ("a", pa.float64()), ("none", pa.string())])
    batch = conform(pa.record_batch({"a": [1, None], "x": [1, 2]}), schema, {"p": 7}, "t")
    assert batch.schema == schema
    assert batch.to_pylist() == [
        {"p": 7, "a": 1.0, "none": None},
        {"p": 7, "a": None, "none": None},
    ]


def test_values_of_dictionaries_may_be_views() -> None:
    """As in what polars hands over of its categorical columns."""
    values = pa.array(["b", "a"], pa.string_view())
    words = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint32()), values)
    lists = pa.ListArray.from_arrays(pa.array([0, 2, None, 3], pa.int32()), words)
    for column in (words, lists):
        batch = pa.record_batch([column], ["x"])
        schema = plain_schema(batch.schema, "t")
        assert schema.field("x").type in (pa.string(), pa.list_(pa.string()))
        plain = conform(batch, schema, {}, "t").column("x")
        assert plain.to_pylist() == column.to_pylist()


VIEW, TEXT = pa.string_view(), pa.string()
KEPT = pa.field("item", VIEW, metadata={"whose": "polars"})


@pytest.mark.parametrize(
    ("kind", "plain", "value"),
    [
        (pa.large_list(KEPT), pa.large_list(TEXT), ["x", None]),
        (pa.list_(VIEW, 1), pa.list_(TEXT, 1), ["x"]),
        (pa.list_(pa.binary_view()), pa.list_(pa.binary()), [b"x"]),
        (pa.map_(VIEW, VIEW), pa.map_(TEXT, TEXT), [("x", "y")]),
        (pa.struct([("a", pa.list_(VIEW))]), pa.struct([("a", pa.list_(TEXT))]), {"a": ["x"]}),
    ],
)
def test_values_inside_of_values_are_plain_too(kind: Any, plain: Any, value: Any) -> None:
    """Arrow cannot pick rows of views, and a list of strings has views where polars made it."""
    batch = pa.record_batch([pa.array([value, None, value], kind)], ["x"])
    schema = plain_schema(batch.schema, "t")
    assert schema.field("x").type == plain
    rows = conform(batch.slice(1), schema, {}, "t").take(pa.array([1, 0]))
    assert rows.column("x").to_pylist() == [value, None]


def test_a_cell_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"t: column 'a' cannot be read: .*300"):
        conform(pa.record_batch({"a": [300]}), pa.schema([("a", pa.int8())]), {}, "t")


def test_widened_integers_may_be_rounded() -> None:
    batch = pa.record_batch({"a": [2**60 + 1]})
    (row,) = conform(batch, pa.schema([("a", pa.float64())]), {}, "t").to_pylist()
    assert row == {"a": float(2**60 + 1)}


def test_a_cell_that_python_does_not_have_is_refused() -> None:
    far = pa.record_batch({"a": pa.array([2**62], pa.timestamp("s"))})
    with pytest.raises(InputError, match="t has a cell that cannot be read"):
        cells_of(far, "t")
