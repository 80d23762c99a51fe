"""What the OpenAPI document says beyond the routes' types.

Owns: bodies that routes read themselves, and the error envelope of every route. Must not know:
handlers.
"""

from typing import Any

from fastapi import FastAPI

from schemas.batch_object import CreateBatchRequest
from schemas.envelope import ErrorEnvelope
from schemas.files import UPLOAD_PURPOSES

__all__ = [
    "CREATE_BATCH_BODY",
    "ERRORS",
    "ONLINE_ANSWER",
    "UPLOAD_FORM",
    "leave_out_unused",
    "online_body",
]

_WORDS = {
    400: "The request cannot be used.",
    401: "The API key is missing or wrong.",
    403: "Refused: another site sent it, or the key may not do it.",
    404: "There is no such object.",
    405: "The URL does not take this method.",
    409: "The object is in a state that does not allow this.",
    410: "The bytes of this file are gone.",
    413: "The body is too large.",
    416: "The range lies behind the end.",
    429: "Too much at once; see retry-after.",
    500: "The server failed.",
    503: "The server cannot reach its storage, or no worker serves the model; see retry-after.",
    504: "No answer came in time.",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope, "description": words} for status, words in _WORDS.items()
}

# An answer that comes whole or as events.
ONLINE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/event-stream": {}}}
}


def online_body(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The body of a request for an answer at once: a model, and `name` as in `schema`."""
    properties = {"model": {"type": "string"}, name: schema, "stream": {"type": "boolean"}}
    described = {"type": "object", "required": ["model", name], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": described}}}
    }


UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "purpose": {"type": "string", "enum": list(UPLOAD_PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": 3600,
                            "maximum": 2_592_000,
                        },
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its $defs in place of the references to them."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(each) for each in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


CREATE_BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _inlined(CreateBatchRequest.model_json_schema())}
        },
    }
}


def leave_out_unused(app: FastAPI) -> None:
    """Drop the answer that the framework adds to every route and that no route gives: 422."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        known = generate()
        for path in known["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            known["components"]["schemas"].pop(name, None)
        return known

    app.openapi = document  # type: ignore[method-assign]
