"""`headrace run` of a table with a fake model, in a process of its own that says what it cost.

    python -m tests.e2e.fake_table NUM_ROWS FOLDER

Everything is real but the executor and the tokenizer: reading, templates, queue, server, scheduler,
sinks. A table that is there already is used again.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.fake_run import measure

_GROUP_ROWS = 10_000


def write_table(path: Path, num_rows: int) -> None:
    """An id, a text and three columns that only come along."""
    schema = pa.schema(
        [("id", pa.int64()), ("text", pa.string()), ("tag", pa.string()), ("score", pa.float64())]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, num_rows, _GROUP_ROWS):
            numbers = range(first, min(first + _GROUP_ROWS, num_rows))
            columns = {
                "id": list(numbers),
                "text": [f"question number {n}: " + "what is this about? " * 4 for n in numbers],
                "tag": [f"tag-{n % 17}" for n in numbers],
                "score": [n / 7 for n in numbers],
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=_GROUP_ROWS)


def main(num_rows: int, folder: Path) -> None:
    file, out = folder / f"in-{num_rows}.parquet", folder / f"out-{num_rows}.parquet"
    if not file.exists():
        write_table(file, num_rows)
    measure(
        folder,
        *("run", str(file), "-o", str(out), "--prompt-column", "text", "--max-tokens", "4"),
        *("--system", "You are a helpful assistant."),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
