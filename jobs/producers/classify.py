"""What becomes of one input line: a job, or a row that says why not.

Owns: the order of the checks, refusals that concern the file (duplicates, sizes, models), the row
of a refused line. Must not know: windows, queues, the format of a request (schemas/ does).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from jobs.bodies import INLINE_BYTES
from jobs.identity import request_hash
from jobs.producers.custom_ids import CustomIdTable
from jobs.producers.lines import Line
from jobs.producers.prompt_text import estimate_cost_tokens, rendered_text
from jobs.queue import FinishedRow, NewJob, Outcome
from jobs.unknown_parameters import without_unknown
from schemas.batch import BatchLine, parse_batch_line
from schemas.errors import ApiError, BadLine, model_not_found
from schemas.requests import ENDPOINTS, AnyRequest, check_request
from schemas.result import ResultRow

__all__ = ["LineClassifier", "LineSettings", "ReadLine", "RefusedLine", "answer_hash"]

_MAX_SHOWN = 200
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """Bounds of a line and of the request in it, in bytes; `default_output_tokens` is the guess
    for the cost of a job that names no limit. `job_ttl_ms`: see NewJob. `shares_answers`: requests
    whose answer is determined by what they say are computed once (see `answer_hash`).
    `ignores_unknown`: parameters that the endpoint does not know are left out instead of refused.
    """

    max_line_bytes: int = 16 << 20
    max_body_bytes: int = INLINE_BYTES
    default_output_tokens: int = 512
    job_ttl_ms: int | None = None
    shares_answers: bool = False
    ignores_unknown: bool = False


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A good line. `prompt` is its rendered text, `body` the request's JSON."""

    line: BatchLine
    request: AnyRequest
    prompt: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line with an error of its own. `is_bad_line`: it would fail the whole file under the
    strict policy; else only its parameter values are bad. `prompt` may be empty.
    """

    error: ApiError
    custom_id: str | None
    is_bad_line: bool
    prompt: bytes = b""


class LineClassifier:
    """Checks the lines of one file, in their order (a custom_id belongs to its first line).

    `served_models` are the names that have a worker; None accepts every name.
    """

    def __init__(
        self, *, served_models: Collection[str] | None = None, settings: LineSettings | None = None
    ) -> None:
        self._served_models = served_models
        self._settings = settings or LineSettings()
        self._custom_ids = CustomIdTable()

    def read(self, line: Line) -> ReadLine | RefusedLine:
        """Check one line. Never raises for anything that a file may hold."""
        if line.is_too_long:
            message = (
                f"The line has {line.num_bytes} bytes, which is too long. "
                f"Expected at most {self._settings.max_line_bytes} bytes."
            )
            return _bad_line(line, ApiError(413, message, code="request_too_large"), None)
        try:
            parsed = parse_batch_line(line.data)
        except BadLine as error:
            if error.custom_id is not None:
                self._custom_ids.add(error.custom_id)
            return _bad_line(line, error, error.custom_id)
        if not self._custom_ids.add(parsed.custom_id):
            return _bad_line(line, _duplicate(parsed.custom_id), parsed.custom_id)
        return self.read_request(parsed)

    def read_request(self, parsed: BatchLine) -> ReadLine | RefusedLine:
        """Check the request of a line that is one. Never raises."""
        if self._settings.ignores_unknown:
            known = without_unknown(parsed.url, parsed.body)
            parsed = parsed.model_copy(update={"body": known})
        prompt = rendered_text(parsed.body)
        body = _dump(parsed.body).encode()
        try:
            if len(body) > self._settings.max_body_bytes:
                message = (
                    f"The request has {len(body)} bytes, which is too large. "
                    f"Expected at most {self._settings.max_body_bytes} bytes."
                )
                raise ApiError(413, message, code="request_too_large")
            request = ENDPOINTS[parsed.url].parse(parsed.body)
            served = self._served_models
            if served is not None and request.model not in served:
                raise model_not_found(request.model, served)
            check_request(request)
        except ApiError as error:
            is_bad_line = error.code == "model_not_found"
            return RefusedLine(error, parsed.custom_id, is_bad_line, prompt)
        return ReadLine(parsed, request, prompt, body)

    def to_job(self, idx: int, good: ReadLine) -> NewJob:
        request = good.request
        return NewJob(
            idx=idx,
            custom_id=good.line.custom_id,
            model=request.model,
            url=good.line.url,
            cost_tokens=estimate_cost_tokens(
                len(good.prompt),
                request.max_output_tokens,
                request.num_answers,
                default_output=self._settings.default_output_tokens,
            ),
            body=good.body,
            ttl_ms=self._settings.job_ttl_ms,
            answer_hash=answer_hash(good) if self._settings.shares_answers else None,
        )

    def to_row(self, idx: int, refused: RefusedLine) -> FinishedRow:
        """The line's own row: the error that a client of the endpoint would have been sent."""
        error = refused.error
        row = ResultRow(
            idx=idx,
            custom_id=refused.custom_id,
            status_code=error.status_code,
            error_code=error.code,
            error_message=error.message,
            response_json=_dump(error.body()),
        )
        return FinishedRow(
            idx=idx, custom_id=refused.custom_id, outcome=Outcome.ERR, payload=row.encode()
        )


def answer_hash(good: ReadLine) -> str | None:
    """What this request and all with the same answer have in common, whatever their custom_id;
    None if its answer is left to chance: it is neither greedy nor seeded.
    """
    if good.request.temperature != 0 and good.request.seed is None:
        return None
    return request_hash(good.line.body, good.line.url)


def _bad_line(line: Line, error: ApiError, custom_id: str | None) -> RefusedLine:
    """Without a custom_id nothing but the line number leads back to the line."""
    if custom_id is None:
        error = ApiError(
            error.status_code,
            f"line {line.number}: {error.message}",
            param=error.param,
            code=error.code,
        )
    return RefusedLine(error, custom_id, is_bad_line=True)


def _duplicate(custom_id: str) -> ApiError:
    shown = custom_id if len(custom_id) <= _MAX_SHOWN else custom_id[:_MAX_SHOWN] + "..."
    return ApiError(
        400,
        f"The custom_id '{shown}' for this request is a duplicate of another request. "
        "The custom_id parameter must be unique for each request in a batch.",
        param="custom_id",
        code="duplicate_custom_id",
    )
