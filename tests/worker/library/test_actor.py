import asyncio
from pathlib import Path

import pyarrow as pa
import pytest

from tests.worker.library.conftest import Stage
from worker.library.actor import EngineActor
from worker.library.errors import HeadraceError


def batch(first: int, count: int = 10) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({"id": [f"row {n}" for n in numbers], "text": [f"text {n}" for n in numbers]})


async def test_batches_run_together_and_are_known_again(stage: Stage, tmp_path: Path) -> None:
    given = {"prompt_column": "text", "id_column": "id", "max_tokens": 3, "columns": ["id"]}
    actor = EngineActor(engine={"max_num_seqs": 8}, resume=tmp_path, **given)
    parts = await asyncio.gather(*(actor(batch(first)) for first in (0, 10, 20)))
    assert [part["id"].to_pylist()[0] for part in parts] == ["row 0", "row 10", "row 20"]
    assert {text for part in parts for text in part["content"].to_pylist()} == {"abc"}
    assert len(stage.executor.seen) == 30
    other = EngineActor(resume=tmp_path, **given)
    again = await other(batch(5, 30))
    assert again.num_rows == 30
    assert len(stage.executor.seen) == 35, "rows are known by their ids, wherever they stand"


async def test_what_is_wrong_with_the_pipeline_is_one_clear_error(stage: Stage) -> None:
    with pytest.raises(HeadraceError, match="resume needs id_column"):
        EngineActor(resume="x")
    with pytest.raises(HeadraceError, match="batch_format='pyarrow'"):
        await EngineActor(prompt_column="text")({"text": ["x"]})
    with pytest.raises(HeadraceError, match="'txt' is not in the table"):
        await EngineActor(prompt_column="txt")(batch(0))
