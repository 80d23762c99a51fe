from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.tables.arrow_source import ArrowSource
from jobs.tables.opening import open_table
from jobs.tables.text_source import TextSource


def test_the_format_chooses_the_source(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("a\n1\n")
    assert isinstance(open_table(str(tmp_path / "a.parquet")), ArrowSource)
    assert isinstance(open_table((tmp_path / "a.csv").as_uri()), TextSource)
