"""Examples to prompt and answer text, through the shipped chat template.

Owns: the template's environment for training and the text form of an answer.
Must not know: tokens, tasks. The environment follows transformers' `apply_chat_template`; a test
compares both.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.demo_model.training.examples import Example

__all__ = ["TEMPLATE_PATH", "Rendered", "Segment", "answer_text", "render"]

# How the template opens an answer without reasoning, and how every answer ends.
_TURN = "<|im_start|>assistant\n<think>\n\n</think>\n\n"
_END = "<|im_end|>"
TEMPLATE_PATH = Path(__file__).parent / "chat_template.jinja"


@dataclass(slots=True, frozen=True)
class Segment:
    """A piece of a conversation; `learnt` pieces are the model's own."""

    text: str
    learnt: bool


@dataclass(slots=True, frozen=True)
class Rendered:
    """An example as text: what the model gets, what it must write (with its end token)."""

    prompt: str
    answer: str

    def segments(self) -> list[Segment]:
        """The whole conversation in order; answers of earlier turns are learnt too."""
        opening, *turns = self.prompt.split(_TURN)
        pieces = [Segment(opening, learnt=False)]
        for turn in turns:
            pieces[-1] = Segment(pieces[-1].text + _TURN, learnt=False)
            said, end, rest = turn.partition(_END)
            if end:
                pieces += [Segment(said + end, learnt=True), Segment(rest, learnt=False)]
        return [*pieces, Segment(self.answer, learnt=True)]


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


@cache
def _template() -> Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment.from_string(TEMPLATE_PATH.read_text())


def answer_text(answer: Mapping[str, Any]) -> str:
    """An assistant message as the model writes it after the generation prompt."""
    parts = []
    if "reasoning_content" in answer:
        parts.append(f"<think>\n{answer['reasoning_content']}\n</think>\n\n")
    parts.append(answer["content"])
    calls = [
        f"<tool_call>\n{_to_json({key: made['function'][key] for key in ('name', 'arguments')})}"
        "\n</tool_call>"
        for made in answer.get("tool_calls", ())
    ]
    parts.append("\n".join(calls))
    return "".join(parts) + _END


def render(example: Example) -> Rendered:
    """Prompt and answer of an example."""
    prompt = _template().render(
        messages=example.messages,
        tools=example.tools or None,
        add_generation_prompt=True,
        enable_thinking=example.thinking,
    )
    return Rendered(prompt, answer_text(example.answer))
