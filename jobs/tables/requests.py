"""The chat request of each row.

Owns: from cells to a request's body: prompt column, template, system message, parameters. Must not
know: files, queues, what the parameters mean (schemas/ does).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from jobs.errors import TableSettingError
from jobs.tables.template import RowTemplate
from schemas.errors import ApiError
from schemas.requests import CHAT_URL, ENDPOINTS, check_request
from schemas.wording import type_name

__all__ = ["RowRequests", "check_columns"]

_OWN_KEYS = ("messages", "model", "prompt", "stream", "stream_options")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRequests:
    """How a row becomes a request to `model`: the user's message is the text of `prompt_column`,
    or what `template` makes of the row (which may use that text as `prompt`); at least one of both
    is given. `system` is the system message of every row, `schema` the JSON schema that every
    answer must have, `parameters` are further keys of the body.
    """

    model: str
    prompt_column: str | None = None
    template: RowTemplate | None = None
    system: str | None = None
    schema: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def check(self, schema: pa.Schema) -> list[str]:
        """The columns that requests need, of a table with `schema`.

        Raises TableSettingError for a column that is missing or holds no text, for parameters that
        no request may have.
        """
        if self.prompt_column is None and self.template is None:
            raise TableSettingError("name the column of the prompts, or give a template")
        needed: list[str] = []
        if self.prompt_column is not None:
            check_columns([self.prompt_column], schema, what="the prompt column")
            _check_text(self.prompt_column, schema)
            needed.append(self.prompt_column)
        if self.template is not None:
            needed += self.template.columns(schema.names)
        self._check_parameters()
        return list(dict.fromkeys(needed))

    def body(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The request of one row. Raises ApiError (400) if the row cannot have one."""
        prompt = None if self.prompt_column is None else _text(self.prompt_column, cells)
        if self.template is not None:
            content = self.template.render(cells, prompt=prompt)
        else:
            assert prompt is not None, "check() comes first"
            content = prompt
        return self.body_of(content)

    def body_of(self, content: str) -> dict[str, Any]:
        """The request whose user's message is `content`."""
        messages = [{"role": "user", "content": content}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        body: dict[str, Any] = {"model": self.model, "messages": messages, **self.parameters}
        if self.schema is not None:
            named = {"name": "answer", "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def _check_parameters(self) -> None:
        own = set(self.parameters) & {*_OWN_KEYS, *(["response_format"] if self.schema else [])}
        if own:
            raise TableSettingError(
                f"the parameter {sorted(own)[0]!r} cannot be given: each row brings its own"
            )
        try:
            check_request(ENDPOINTS[CHAT_URL].parse(self.body_of("x")))
        except ApiError as error:
            raise TableSettingError(f"no request can be made: {error.message}") from error


def check_columns(names: Sequence[str], schema: pa.Schema, *, what: str) -> None:
    """Raises TableSettingError, with the columns that there are, if one of `names` is missing;
    `what` says whose name it is.
    """
    for name in names:
        if name not in schema.names:
            there = ", ".join(map(repr, schema.names)) or "none"
            raise TableSettingError(f"{what} {name!r} is not in the table; its columns are {there}")


def _check_text(name: str, schema: pa.Schema) -> None:
    """A column without any cell may be anything."""
    kind = schema.field(name).type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    shown = f"{name}.decode()" if is_bytes else name  # bytes would come out as b'...'
    raise TableSettingError(
        f"the prompt column {name!r} holds {kind}, not text; make text of it with a template, "
        f"such as {{{{ {shown} }}}}"
    )


def _text(column: str, cells: Mapping[str, Any]) -> str:
    value = cells.get(column)
    if isinstance(value, str):
        return value
    if value is None:
        message = f"The cell in column '{column}' is null; a prompt must be text."
    else:
        message = f"The cell in column '{column}' is {type_name(value)}; a prompt must be text."
    raise ApiError(400, message, param=column, code="invalid_prompt")
