"""The columns of an output table: those of the input that are kept, then the answers'.

Owns: their names, order and types. Must not know: files, formats, where rows come from. Names and
meanings are those of results.parquet (docs/FORMATS.md).
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import TableSettingError
from jobs.result_table import RESULT_SCHEMA, ok_mask
from jobs.tables.answer_types import AnswerType
from jobs.tables.answers import ANSWER_PARSE_ERROR, parse_answers
from jobs.tables.requests import check_columns

__all__ = ["ANSWER", "RESULT_COLUMNS", "OutputColumns"]

ANSWER = "answer"
"""The typed answer, where there is a schema."""

_NO_ANSWER = "There is no answer: the row ended before it began."

RESULT_COLUMNS = (
    "content",
    "reasoning",
    "tool_calls",
    "finish_reason",
    "status_code",
    "error_code",
    "error_message",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "attempt",
    "model",
    "fingerprint",
    "request_hash",
)
"""What an output table carries of each result row."""


class OutputColumns:
    """The columns of one output. `kept` are the input's, in order; `schema` is the whole output's.

    `answer` is the type of the answers, if they have one. `prefix` goes before the names of the
    answers' columns, so that a table can be run through several prompts.
    """

    def __init__(
        self,
        source: pa.Schema,
        *,
        kept: Sequence[str] | None = None,
        answer: AnswerType | None = None,
        prefix: str = "",
    ) -> None:
        """`kept` None keeps all columns of `source`.

        Raises TableSettingError for a column that `source` lacks, or one whose name is taken.
        """
        if kept is not None:
            check_columns(kept, source, what="the column to keep")
        self.kept: list[str] = list(dict.fromkeys(source.names if kept is None else kept))
        self.prefix = prefix
        self._answer = answer
        fields: list[Any] = [RESULT_SCHEMA.field(name) for name in RESULT_COLUMNS]
        if answer is not None:
            fields.insert(0, pa.field(ANSWER, answer.arrow))
        named = [field.with_name(prefix + field.name) for field in fields]
        self._check_names([field.name for field in named], prefix)
        self.kept_schema = pa.schema([source.field(name) for name in self.kept])
        self.schema = pa.schema([*self.kept_schema, *named])

    def table(self, kept: pa.Table | None, results: pa.Table) -> pa.Table:
        """The output for some rows: `kept` has the kept columns (None if there are none),
        `results` the same rows' results, with at least the columns of RESULT_COLUMNS.
        """
        assert kept is None or kept.num_rows == results.num_rows, "rows must stand side by side"
        columns: list[Any] = [] if kept is None else [kept.column(name) for name in self.kept]
        if self._answer is not None:
            values, results = _with_answers(results, self._answer)
            columns.append(values)
        columns += [results.column(name) for name in RESULT_COLUMNS]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _check_names(self, added: Sequence[str], prefix: str) -> None:
        taken = [name for name in added if name in self.kept]
        if taken:
            names = ", ".join(map(repr, taken))
            raise TableSettingError(
                f"the input's columns {names} have the names of columns of the answers; keep other "
                f"columns only, or give the answers' columns another result prefix than {prefix!r}"
            )


def _with_answers(results: pa.Table, kind: AnswerType) -> tuple[Any, pa.Table]:
    """The typed answers of 200 rows, and the results with the problems among their errors."""
    is_ok = ok_mask(results)
    content = results.column("content")
    texts = pc.if_else(is_ok, content, pa.scalar(None, pa.string()))
    parsed = parse_answers(texts.to_pylist(), kind)
    problems = dict(parsed.problems)
    # All tokens went into reasoning. A call instead of an answer is none the worse for it.
    has_nothing = pc.and_(pc.is_null(content), pc.is_null(results.column("tool_calls")))
    for position in pc.indices_nonzero(pc.and_(is_ok, has_nothing)).to_numpy().tolist():
        problems[position] = _NO_ANSWER
    return parsed.values, _with_problems(results, problems) if problems else results


def _with_problems(results: pa.Table, problems: dict[int, str]) -> pa.Table:
    """`results` with those errors where a row has none."""
    codes = results.column("error_code").to_pylist()
    messages = results.column("error_message").to_pylist()
    for position, problem in problems.items():
        if codes[position] is None:
            codes[position], messages[position] = ANSWER_PARSE_ERROR, problem
    for name, cells in (("error_code", codes), ("error_message", messages)):
        place = results.schema.get_field_index(name)
        results = results.set_column(place, RESULT_SCHEMA.field(name), pa.array(cells, pa.string()))
    return results
