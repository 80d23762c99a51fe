"""The error envelope and lists as models, for the endpoint's OpenAPI document.

Owns: the shapes that several objects share. Must not know: which errors exist (errors.py).
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Deleted", "ErrorDetail", "ErrorEnvelope", "ResponseModel"]


class ResponseModel(BaseModel):
    """Base of everything that the endpoint answers: exactly the declared keys, null when unset."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorDetail(ResponseModel):
    """What is wrong: all four keys, always."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(ResponseModel):
    """The body of every answer that is not a success."""

    error: ErrorDetail


class Deleted(ResponseModel):
    """The answer to DELETE /v1/files/{id}."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
