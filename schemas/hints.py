"""Objects of a chat request that this server takes without acting on them, or refuses whole.

Owns: their shapes, so that a slip in one is still found. Must not know: which of them are refused
(supported.py).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.content import TextPart
from schemas.strict import StrictModel, by_type, checked

__all__ = [
    "AudioOutput",
    "Metadata",
    "Moderation",
    "Prediction",
    "PromptCacheOptions",
    "StreamOptions",
    "WebSearchOptions",
]

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
]


class StreamOptions(StrictModel):
    """What a stream carries besides text; `continuous_usage_stats` is vLLM's."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class PromptCacheOptions(StrictModel):
    """How OpenAI's prompt cache should behave."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class ModerationRule(StrictModel):
    """What to do with what was found."""

    mode: Literal["score", "block"]


class ModerationPolicy(StrictModel):
    """Rules for both directions."""

    input: ModerationRule | None = None
    output: ModerationRule | None = None


class Moderation(StrictModel):
    """Moderation beside generation."""

    model: str
    policy: ModerationPolicy | None = None


class Prediction(StrictModel):
    """Text that the answer will probably repeat: only a hint."""

    type: Literal["content"]
    content: Annotated[
        str | list[TextPart],
        by_type("one of a string or array", {str: checked(str), list: checked(list[TextPart])}),
    ]


class VoiceReference(StrictModel):
    """A voice of one's own."""

    id: str


class AudioOutput(StrictModel):
    """How a spoken answer should sound."""

    voice: Annotated[
        str | VoiceReference,
        by_type(
            "one of a string or object", {str: checked(str), dict: VoiceReference.model_validate}
        ),
    ]
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


class WebSearchOptions(StrictModel):
    """How to search the web."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: dict[str, Any] | None = None
