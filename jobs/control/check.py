"""Whether an input file can become a batch: OpenAI's rules, one entry per bad line.

Owns: the rules that concern the file and the entries' codes, params and sentences. Must not know:
queues, records, the parameters of requests (a bad one fails its request alone, later).
"""

from collections.abc import Collection
from dataclasses import dataclass

from jobs.producers.custom_ids import CustomIdTable
from jobs.producers.lines import InputFile, Line, LineReader
from schemas.batch import BatchLine, parse_batch_line
from schemas.batch_object import LineError
from schemas.errors import BadLine
from schemas.wording import show

__all__ = ["CheckSettings", "Verdict", "check_input"]

_MAX_ERRORS = 1000
_BODY_FIELDS = ("model", "messages", "prompt", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """Bounds of a file. `served_models` None: every name is accepted."""

    endpoint: str
    max_requests: int
    served_models: Collection[str] | None = None
    is_mixing_models: bool = False
    max_line_bytes: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file holds. With `errors` nothing of it may run. `model` is the only one, if there is
    only one.
    """

    num_requests: int
    model: str | None
    errors: tuple[LineError, ...]


def check_input(source: InputFile, settings: CheckSettings) -> Verdict:
    """Read the file once and judge it. Blocks. Raises InputError."""
    checker = _Checker(settings)
    for line in LineReader(source, max_line_bytes=settings.max_line_bytes):
        error = checker.error_of(line)
        if checker.num_requests > settings.max_requests:
            return Verdict(checker.num_requests, None, (_too_many(settings.max_requests),))
        if error is None:
            continue
        checker.errors.append(error)
        if len(checker.errors) == _MAX_ERRORS:
            checker.errors.append(_more())
            break
    if checker.num_requests == 0:
        checker.errors.append(_empty())
    models = checker.models
    return Verdict(
        checker.num_requests, models[0] if len(models) == 1 else None, tuple(checker.errors)
    )


class _Checker:
    """The lines of one file, in their order."""

    def __init__(self, settings: CheckSettings) -> None:
        self.num_requests = 0
        self.models: list[str] = []
        self.errors: list[LineError] = []
        self._settings = settings
        self._custom_ids = CustomIdTable()

    def error_of(self, line: Line) -> LineError | None:
        """What is wrong with the line, if anything."""
        self.num_requests += 1
        if line.is_too_long:
            limit = self._settings.max_line_bytes
            message = f"The line has {line.num_bytes} bytes. Expected at most {limit} bytes."
            return LineError(code="request_too_large", message=message, line=line.number)
        try:
            parsed = parse_batch_line(line.data, endpoint=self._settings.endpoint)
        except BadLine as error:
            if error.custom_id is not None:
                self._custom_ids.add(error.custom_id)
            return _entry(error, line.number)
        if not self._custom_ids.add(parsed.custom_id):
            return _duplicate(parsed.custom_id, line.number)
        return self._model_error(parsed, line.number)

    def _model_error(self, parsed: BatchLine, number: int) -> LineError | None:
        model, settings = parsed.body["model"], self._settings
        if not isinstance(model, str) or model in self.models:
            return None  # a model that is no string fails its request alone
        if settings.served_models is not None and model not in settings.served_models:
            message = f"The provided model {show(model)} is not supported by the Batch API."
            return LineError(
                code="model_not_found", message=message, param="body.model", line=number
            )
        if self.models and not settings.is_mixing_models:
            message = (
                f"The model {show(model)} for this request does not match the rest of the batch. "
                "Each batch must contain requests for a single model."
            )
            return LineError(
                code="mismatched_model", message=message, param="body.model", line=number
            )
        self.models.append(model)
        return None


def _entry(error: BadLine, number: int) -> LineError:
    """A refused line in the Batch API's words. What the body lacks has another code here than at
    the synchronous endpoint, where the body is everything.
    """
    missing = _missing_from_body(error)
    if missing is None:
        return LineError(code=error.code, message=error.message, param=error.param, line=number)
    message = f"{missing.capitalize()} parameter is required."
    return LineError(code="invalid_request", message=message, param=f"body.{missing}", line=number)


def _missing_from_body(error: BadLine) -> str | None:
    if error.code is None and error.param in (None, "model"):
        return "model"
    if error.code == "missing_required_parameter" and error.param in _BODY_FIELDS:
        return error.param
    return None


def _duplicate(custom_id: str, number: int) -> LineError:
    message = (
        f"The custom_id {show(custom_id)} for this request is a duplicate of another request. "
        "The custom_id parameter must be unique for each request in a batch."
    )
    return LineError(code="duplicate_custom_id", message=message, param="custom_id", line=number)


def _empty() -> LineError:
    message = "The input file is empty. Please ensure that the batch contains at least one request."
    return LineError(code="empty_file", message=message)


def _too_many(limit: int) -> LineError:
    message = f"The input file has too many requests. Expected at most {limit} requests."
    return LineError(code="too_many_tasks", message=message)


def _more() -> LineError:
    message = f"More lines may be bad: checking stopped after {_MAX_ERRORS} errors."
    return LineError(code="too_many_errors", message=message)
