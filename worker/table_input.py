"""A table as the input of a run.

Owns: from flags to a table's parts, what identifies such a run, what its output says about it. Must
not know: queues, how tables are read and written.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.structured_output.grammar import grammar_problem
from jobs.errors import TableSettingError, TargetError
from jobs.producers.jsonl import LineError
from jobs.producers.lines import LineCounts
from jobs.producers.windows import KnownRows, ProducerSettings
from jobs.sinks.final import MakeWriter, RowWriter
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import Target, TargetKind
from jobs.tables.answer_types import AnswerType, answer_type
from jobs.tables.columns import OutputColumns
from jobs.tables.formats import check_writable, table_writer
from jobs.tables.opening import open_table
from jobs.tables.places import local_path
from jobs.tables.producer import TableProducer, check_rows_strictly
from jobs.tables.requests import RowRequests
from jobs.tables.template import RowTemplate
from jobs.tables.writer import TableWriter
from schemas.chat import parse_chat_request
from schemas.errors import ApiError
from schemas.json_text import parse_json
from worker.answer_form import answer_form
from worker.errors import SettingsError
from worker.table_options import TableSettings

__all__ = ["TableInput"]

_FOLDER_FILE = "results.parquet"


class TableInput:
    """A table and what is asked about its rows (worker.run_input.RunInput). `model` is the name
    that requests ask for.
    """

    def __init__(self, settings: TableSettings, *, model: str) -> None:
        """Raises SettingsError, InputError."""
        options = settings.options
        self.name = settings.location
        self.path = local_path(settings.location)
        try:
            template = _read_template(options.template)
            schema = _read_schema(options.schema)
            answer = _answer_type(schema, options.schema)
            self._requests = RowRequests(
                model=model,
                prompt_column=options.prompt_column,
                template=template,
                system=options.system,
                schema=schema,
                parameters=settings.parameters,
            )
            self._source = open_table(settings.location)
            self._requests.check(self._source.schema)
            self._columns = OutputColumns(
                self._source.schema,
                kept=settings.kept,
                answer=answer,
                prefix=options.result_prefix,
            )
        except TableSettingError as error:
            raise SettingsError(str(error)) from error
        _check_enforceable(self._requests, options.schema)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """See RunInput."""
        requests = self._requests
        table = {
            "prompt_column": requests.prompt_column,
            "template": None if requests.template is None else requests.template.text,
            "system": requests.system,
            "schema": requests.schema,
            "parameters": dict(requests.parameters),
            "columns": self._columns.kept,
            "result_prefix": self._columns.prefix,
        }
        return {"table": table}

    @cached_property
    def sha256(self) -> str:
        """See RunInput: also another output of the same requests is another run."""
        what = json.dumps([self._source.digest, self.settings])  # the order of keys counts
        return hashlib.sha256(what.encode()).hexdigest()

    @property
    def make_writer(self) -> MakeWriter:
        """See RunInput."""
        return self._writer

    def check_target(self, target: Target) -> None:
        """See RunInput."""
        if target.kind is TargetKind.REDIS:
            raise SettingsError("-o redis: the rows of a table go into a file or a folder")
        _refuse_inside(target, self.path, self.name)
        try:
            check_writable(self._columns.schema, _file_name(target))
        except TableSettingError as error:
            raise SettingsError(str(error)) from error

    def count(self) -> LineCounts:
        """See RunInput."""
        return LineCounts(self._source.num_rows, 0)

    def bad_lines(self, served_models: Collection[str]) -> list[LineError]:
        """See RunInput."""
        return check_rows_strictly(self._source, self._requests, served_models=served_models)

    def producer(
        self,
        *,
        served_models: Collection[str],
        known: KnownRows | None,
        settings: ProducerSettings,
    ) -> TableProducer:
        """See RunInput."""
        return TableProducer(
            self._source,
            self._requests,
            served_models=served_models,
            known=known,
            settings=settings,
        )

    def _writer(self, target: Target, folder: Path, batch_id: str, facts: RunFacts) -> RowWriter:
        is_folder = target.kind is TargetKind.FOLDER
        schema = self._columns.schema.with_metadata(
            {"headrace.batch_id": batch_id, "headrace.run": json.dumps(_lasting(facts))}
        )
        file = table_writer(
            folder,
            _file_name(target),
            schema,
            batch_id=batch_id,
            is_split=is_folder,
        )
        return TableWriter(self._source, self._columns, file)


def _lasting(facts: RunFacts) -> dict[str, Any]:
    """What the file says about the run; times would make another file of the same run."""
    kept = asdict(facts)
    for name in ("timings", "num_lines", "num_reused"):
        kept.pop(name)
    return kept


def _file_name(target: Target) -> str:
    return _FOLDER_FILE if target.kind is TargetKind.FOLDER else target.name


def _read_template(path: Path | None) -> RowTemplate | None:
    return None if path is None else RowTemplate.read(path)


def _read_schema(path: Path | None) -> dict[str, Any] | None:
    """Raises SettingsError if the file holds no JSON object."""
    if path is None:
        return None
    try:
        value = parse_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"--schema {path} cannot be read: {reason}") from error
    except ValueError as error:
        raise SettingsError(f"--schema {path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise SettingsError(f"--schema {path} is not a JSON schema: it is no object")
    return value


def _answer_type(schema: Mapping[str, Any] | None, path: Path | None) -> AnswerType | None:
    return None if schema is None else answer_type(schema, name=f"--schema {path}")


def _check_enforceable(requests: RowRequests, path: Path | None) -> None:
    """Say now what each row would be told. Raises SettingsError."""
    if requests.schema is None:
        return
    try:
        form = answer_form(parse_chat_request(requests.body_of("x")))
        assert form is not None, "there is a schema"
        problem = grammar_problem(form.grammar())
    except ApiError as error:
        raise SettingsError(f"--schema {path}: {error.message}") from error
    if problem is not None:
        raise SettingsError(f"--schema {path} cannot be enforced: {' '.join(problem.split())}")


def _refuse_inside(target: Target, path: Path | None, name: str) -> None:
    """An output inside the input's folder would be part of the next run's input."""
    if target.url is not None and target.url == name.rstrip("/"):
        raise TargetError(f"the output {target} is the input")
    if path is None or target.path is None or not path.is_dir():
        return
    folder = path.resolve()
    if target.path == folder or folder in target.path.parents:
        raise TargetError(f"the output {target.path} lies in the input folder {name}")
