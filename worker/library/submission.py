"""What a call was given, as a producer of jobs and the columns of their answers.

Owns: telling tables from requests, the settings of a call. Must not know: engines, queues.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypedDict

import pyarrow as pa

from jobs.producers.fanout import Producer
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.windows import KnownRows, ProducerSettings
from jobs.tables.answer_types import answer_type
from jobs.tables.columns import OutputColumns
from jobs.tables.memory_source import MemorySource
from jobs.tables.producer import TableProducer
from jobs.tables.requests import RowRequests
from worker.library.answers import AnswerColumns, ResultColumns
from worker.library.arrow_input import is_arrow, to_table
from worker.library.errors import HeadraceError
from worker.library.request_lines import RequestDefaults, write_lines
from worker.library.settings import check_names
from worker.library.table_columns import (
    NamedRows,
    TableColumns,
    read_schema,
    read_template,
    row_names,
)

__all__ = ["ModelSettings", "RequestSettings", "Submission", "submit"]

_OF_TABLES = ("prompt_column", "template", "schema", "columns", "result_prefix", "id_column")


class RequestSettings(TypedDict, total=False):
    """How rows become requests. `system` is the system message of each request that has none,
    `max_tokens` the longest answer, `temperature` 0 is greedy, `extra_body` has further keys of
    every body (`seed`, `tools`...).

    Of a table only: `prompt_column` holds the user's messages, or `template` (Jinja text, or a Path
    to it) makes them of the row's columns; `schema` is the JSON schema of every answer, which then
    has a typed column `answer`; `columns` are those of the table to keep, all by default;
    `result_prefix` goes before the names of the answers' columns; `id_column` names the rows for
    `resume`.
    """

    system: str
    max_tokens: int
    temperature: float
    extra_body: Mapping[str, Any]
    prompt_column: str
    template: str | Path
    schema: Mapping[str, Any] | Path
    columns: Sequence[str]
    result_prefix: str
    id_column: str


class ModelSettings(RequestSettings, total=False):
    """The same, and the served name that answers requests that name none."""

    model: str


class MakeProducer(Protocol):
    """Makes the producer of a call, once its engine or queue is known."""

    def __call__(
        self,
        *,
        served_models: Collection[str] | None = None,
        known: KnownRows | None = None,
        settings: ProducerSettings | None = None,
    ) -> Producer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One call's rows. `remove` forgets what was written down for them."""

    num_rows: int
    producer: MakeProducer
    columns: AnswerColumns
    remove: Callable[[], object] = lambda: None


def submit(data: Any, settings: ModelSettings) -> Submission:
    """Read `data` as a table or as requests. Raises HeadraceError, JobsError."""
    check_names(settings, ModelSettings)
    if is_arrow(data):
        return _table(to_table(data), settings)
    if isinstance(data, str | bytes | Mapping) or not isinstance(data, Iterable):
        raise HeadraceError(
            f"a {type(data).__name__} is neither a table nor a list of requests; "
            "put a single request into a list"
        )
    return _requests(data, settings)


def _requests(data: Iterable[Any], settings: ModelSettings) -> Submission:
    for name in _OF_TABLES:
        if settings.get(name) is not None:
            raise HeadraceError(f"{name} is a setting for tables; these are requests")
    defaults = RequestDefaults(
        model=settings.get("model"), system=settings.get("system"), fields=_fields(settings)
    )
    written = write_lines(data, defaults)
    return Submission(
        num_rows=written.num_requests,
        producer=partial(JsonlProducer, written.file),
        columns=ResultColumns(),
        remove=partial(written.file.path.unlink, missing_ok=True),
    )


def _table(table: pa.Table, settings: ModelSettings) -> Submission:
    model = settings.get("model")
    if model is None:
        raise HeadraceError("which model? Give model=NAME, a name that a worker serves")
    source = MemorySource(table)
    schema = read_schema(settings.get("schema"))
    output = OutputColumns(
        source.schema,
        kept=settings.get("columns"),
        answer=None if schema is None else answer_type(schema),
        prefix=settings.get("result_prefix") or "",
    )
    requests = RowRequests(
        model=model,
        prompt_column=settings.get("prompt_column"),
        template=read_template(settings.get("template")),
        system=settings.get("system"),
        schema=schema,
        parameters=_fields(settings),
    )
    requests.check(source.schema)
    column = settings.get("id_column")
    if column is None:
        producer: MakeProducer = partial(TableProducer, source, requests)
    else:
        producer = partial(NamedRows, source, requests, row_names(source, column))
    return Submission(
        num_rows=source.num_rows, producer=producer, columns=TableColumns(source, output)
    )


def _fields(settings: ModelSettings) -> dict[str, Any]:
    fields = dict(settings.get("extra_body") or {})
    if settings.get("max_tokens") is not None:
        fields["max_tokens"] = settings["max_tokens"]
    if settings.get("temperature") is not None:
        fields["temperature"] = settings["temperature"]
    return fields
