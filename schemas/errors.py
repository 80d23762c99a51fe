"""Errors that a client sees, in OpenAI's one envelope.

Owns: the exception tree and the constructors for refusals that several places make. Must not
know: HTTP servers, jobs, pydantic (see validation.py).

    ApiError            a request refused, or failed, with a status code and OpenAI's four keys
    └── BadLine         a line of a batch file that is no request at all (not a bad value in one)
"""

from collections.abc import Iterable
from typing import Any

__all__ = ["ApiError", "BadLine", "model_not_found", "server_error", "unreadable_body"]


class ApiError(Exception):
    """One refusal. `param` is a path such as `messages[0].role`; `code` is OpenAI's word for it."""

    def __init__(
        self,
        status_code: int,
        message: str,
        type: str = "invalid_request_error",  # noqa: A002  the key's name in the envelope
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.type = type
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """The envelope: all four keys, always."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class BadLine(ApiError):  # noqa: N818  named for what it is
    """A batch line that can not become a request. `custom_id` is the line's if it has a usable
    one, so that its row can still be found.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        custom_id: str | None = None,
    ) -> None:
        super().__init__(400, message, param=param, code=code)
        self.custom_id = custom_id


def unreadable_body(reason: str) -> ApiError:
    """400: the body is not a JSON object. `reason` says why, in a short phrase."""
    return ApiError(400, f"We could not parse the JSON body of your request. ({reason})")


def model_not_found(model: str, served: Iterable[str]) -> ApiError:
    """404: nobody serves `model`; `served` are the names that would have worked."""
    names = ", ".join(f"'{name}'" for name in sorted(served)) or "none"
    message = f"The model '{model[:200]}' does not exist. Served models: {names}."
    return ApiError(404, message, param="model", code="model_not_found")


def server_error(message: str) -> ApiError:
    """500: the request was fine, we were not."""
    return ApiError(500, message, type="server_error")
