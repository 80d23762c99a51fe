"""Models as the endpoint lists them.

Owns: their keys: OpenAI's four, and vLLM's extra ones. Must not know: workers.
"""

from typing import Literal

from schemas.envelope import ResponseModel

__all__ = ["ModelCard", "ModelList"]


class ModelCard(ResponseModel):
    """A served model. `created` is unix seconds; `max_model_len` is its context in tokens."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "headrace"
    root: str
    parent: str | None = None
    max_model_len: int


class ModelList(ResponseModel):
    """Everything that live workers serve."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
