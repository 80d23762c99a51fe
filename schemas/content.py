"""The parts that a message's content may be made of.

Owns: text, image, audio, file and refusal parts. Must not know: roles, which parts a model takes
(supported.py refuses those that none here does).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from schemas.strict import StrictModel, by_tag, by_type, checked

__all__ = [
    "AnswerContent",
    "FilePart",
    "ImagePart",
    "InputAudioPart",
    "Part",
    "PromptCacheBreakpoint",
    "RefusalPart",
    "TextContent",
    "TextPart",
    "UserContent",
]


class PromptCacheBreakpoint(StrictModel):
    """A hint where a reusable prefix ends; ours is found without it."""

    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | None = None


class TextPart(StrictModel):
    """A piece of text."""

    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class ImageUrl(StrictModel):
    """Where an image is, or the image itself as a data URL."""

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(StrictModel):
    """An image."""

    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class InputAudio(StrictModel):
    """A sound, base64 encoded."""

    data: str
    format: Literal["wav", "mp3"]


class InputAudioPart(StrictModel):
    """A sound."""

    type: Literal["input_audio"]
    input_audio: InputAudio
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class InputFile(StrictModel):
    """A document: uploaded before, or base64 encoded in place."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(StrictModel):
    """A document."""

    type: Literal["file"]
    file: InputFile
    prompt_cache_breakpoint: PromptCacheBreakpoint | None = None


class RefusalPart(StrictModel):
    """What an assistant said when it refused."""

    type: Literal["refusal"]
    refusal: str


Part = TextPart | ImagePart | InputAudioPart | FilePart | RefusalPart


_UNSERVED = ("image_url", "input_audio", "file")


def _content(models: dict[str, type[StrictModel]]) -> Any:
    """Text, or a list of the named parts, of which there must be one."""
    parts = Annotated[
        list[Annotated[Any, by_tag("type", models, unserved=_UNSERVED)]],
        Field(min_length=1, fail_fast=True),
    ]
    return by_type("one of a string or array", {str: checked(str), list: checked(parts)})


TextContent = Annotated[str | list[Part], _content({"text": TextPart})]
"""What system, developer and tool messages say."""

AnswerContent = Annotated[str | list[Part], _content({"text": TextPart, "refusal": RefusalPart})]
"""What an assistant says."""

UserContent = Annotated[
    str | list[Part],
    _content(
        {
            "text": TextPart,
            "image_url": ImagePart,
            "input_audio": InputAudioPart,
            "file": FilePart,
        }
    ),
]
"""What a user says."""
