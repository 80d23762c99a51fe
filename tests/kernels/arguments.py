"""A case's inputs as keyword arguments of its op."""

from dataclasses import fields
from typing import Any

__all__ = ["arguments"]


def arguments(inputs: Any) -> dict[str, Any]:
    return {field.name: getattr(inputs, field.name) for field in fields(inputs)}
