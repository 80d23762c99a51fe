"""A pipeline of Ray Data with two engines, as a program of its own: `python -m
tests.e2e.ray_pipeline FOLDER`. In the first run one of the actors is killed in the middle of a
batch. Prints one JSON object.

A process of its own, because Ray leaves threads, signal handlers and environment behind.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from worker.library.actor import EngineActor

NUM_ROWS = 120
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"enum": ["Paris", "Rome"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


class MortalActor(EngineActor):
    """One of all actors is killed while it computes its second batch."""

    def __init__(self, note: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._note = Path(note)
        self._num_batches = 0

    async def __call__(self, batch: object) -> pa.Table:
        self._num_batches += 1
        answering = asyncio.ensure_future(super().__call__(batch))
        if self._num_batches == 2 and self._is_first():
            await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        return await answering

    def _is_first(self) -> bool:
        try:
            self._note.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def run(folder: Path, num_actors: int) -> list[dict[str, Any]]:
    """One run of the pipeline; its rows."""
    rows = [{"id": f"row {n}", "text": f"Weather in city {n}?", "n": n} for n in range(NUM_ROWS)]
    rows[7]["text"] = None
    answered = ray.data.from_items(rows, override_num_blocks=12).map_batches(
        MortalActor,
        batch_format="pyarrow",
        batch_size=10,
        compute=ray.data.ActorPoolStrategy(size=num_actors),
        num_cpus=0.5,
        fn_constructor_kwargs={
            "note": str(folder / "killed"),
            "engine": {"max_num_seqs": 8, "kv_cache_memory_bytes": 32 << 20},
            "prompt_column": "text",
            "id_column": "id",
            "columns": ["id", "n"],
            "resume": str(folder / "kept"),
            "max_tokens": 60,
            "extra_body": {
                "tools": TOOLS,
                "tool_choice": "required",
                "chat_template_kwargs": {"enable_thinking": True},
            },
        },
    )
    return list(answered.take_all())


def kept_rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "kept").glob("rows-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def main(folder: Path) -> None:
    ray.init(
        num_cpus=2,
        object_store_memory=100 << 20,
        include_dashboard=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        first = run(folder, 2)
        num_kept = len(kept_rows(folder))
        second = run(folder, 1)
    finally:
        ray.shutdown()
    report = {
        "was_killed": (folder / "killed").exists(),
        "first": first,
        "second": second,
        "num_kept_after_first": num_kept,
        "kept": kept_rows(folder),
    }
    sys.stdout.write(f"\n{json.dumps(report)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
