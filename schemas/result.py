"""One finished line: the typed columns of a result and its wire encoding.

Owns: `ResultRow`, the columns that Parquet files carry (their names and types are promised to
users) and the encoding that travels from a worker through Redis to a sink. Must not know: Redis,
Arrow, files.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict

__all__ = ["ResultRow", "ToolCallCell"]


class ToolCallCell(BaseModel):
    """One tool call as a cell of the `tool_calls` column; `arguments` is JSON text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    arguments: str


class ResultRow(BaseModel):
    """The result of one line. With n > 1 the typed columns describe choice 0; `response_json`
    holds the whole response body, or `{"error": {...}}`. Times are seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    idx: int
    custom_id: str | None = None
    status_code: int | None = None
    model: str | None = None
    finish_reason: str | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallCell] | None = None
    tool_arguments_valid: bool | None = None
    error_code: str | None = None
    error_message: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    attempt: int = 0
    worker: str | None = None
    fingerprint: str | None = None
    queue_s: float | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    request_hash: str | None = None
    deduped_from: int | None = None
    response_json: str | None = None
    attempts_json: str | None = None

    def encode(self) -> bytes:
        """The row as bytes: one line of JSON for the columns, then the response as it is, so that
        the response is neither escaped twice nor parsed on its way to a file.
        """
        head = self.model_dump_json(exclude={"response_json"}, exclude_none=True)
        return head.encode() + b"\n" + (self.response_json or "").encode()

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """The inverse of `encode`. Raises pydantic.ValidationError on foreign bytes."""
        head, _, response = payload.partition(b"\n")
        row = cls.model_validate_json(head)
        return row.model_copy(update={"response_json": response.decode()}) if response else row
