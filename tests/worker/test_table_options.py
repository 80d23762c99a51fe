from pathlib import Path
from typing import Any

import pytest

from worker.errors import SettingsError
from worker.table_options import TableOptions, TableSettings, table_settings


def settings(**options: Any) -> TableSettings:
    return TableSettings("in.parquet", TableOptions(prompt_column="text", **options))


def test_a_prompt_column_or_a_template_makes_a_table_of_the_input(tmp_path: Path) -> None:
    assert table_settings("in.jsonl", TableOptions()) is None
    for options in (TableOptions(prompt_column="a"), TableOptions(template=tmp_path)):
        assert table_settings("in.jsonl", options) == TableSettings("in.jsonl", options)


@pytest.mark.parametrize("location", ["a.parquet", "a.csv", "s3://bucket/x", "."])
def test_a_table_without_prompts_is_refused(location: str) -> None:
    with pytest.raises(SettingsError, match="--prompt-column"):
        table_settings(location, TableOptions())


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(SettingsError, match="FILE is empty"):
        table_settings("", TableOptions())


def test_flags_of_tables_alone_are_refused() -> None:
    with pytest.raises(SettingsError, match="--result-prefix is for tables"):
        table_settings("in.jsonl", TableOptions(result_prefix="x"))


@pytest.mark.parametrize(
    ("columns", "kept"), [(None, None), ("", []), ("a, b,c d", ["a", "b", "c d"])]
)
def test_columns_to_keep(columns: str | None, kept: list[str] | None) -> None:
    assert settings(columns=columns).kept == kept


def test_parameters_come_from_flags_and_from_the_extra_body() -> None:
    assert settings().parameters == {}
    options = settings(max_tokens=5, temperature=0.0, extra_body='{"top_p": 0.5, "max_tokens": 9}')
    assert options.parameters == {"max_tokens": 5, "temperature": 0.0, "top_p": 0.5}


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_an_extra_body_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--extra-body"):
        _ = settings(extra_body=text).parameters
