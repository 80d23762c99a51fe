"""The grammar of answers in harmony, gpt-oss's format, that call functions.

Owns: which messages such an answer has, reasoning included: there is no place in it behind which
one grammar could begin, since a call follows the reasoning in a message of its own. Must not know:
how messages are read back (engine/parsers/tools/harmony.py), budgets. An answer has one call: its
end ends the model's turn.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.structured_output.call_arguments import arguments_rule
from engine.structured_output.grammar import GrammarPart, quoted
from engine.structured_output.lark_text import LarkText
from engine.structured_output.tool_formats import ToolFormat

__all__ = ["harmony_grammar"]

_NOTE_END = "<|end|><|start|>assistant"


def harmony_grammar(
    form: ToolFormat,
    functions: Sequence[Mapping[str, Any]],
    tokens: Mapping[str, int],
    *,
    must_call: bool,
    may_think: bool,
    answer: GrammarPart | None,
) -> str:
    """The text of the grammar; the arguments are those of `tool_grammar`. Raises GrammarError."""
    lark = LarkText(tokens)
    called = " | ".join(
        f"{quoted(function['name'])} {lark.literal(form.after_name)} "
        f"{arguments_rule(lark, form, function)}"
        for function in functions
    )
    lines = [
        f"analysis: {_note(lark, 'analysis')}",
        f"preamble: {_note(lark, 'commentary')}",
        f"call: {lark.literal(form.before_name)} ({called}) {lark.literal(form.after_arguments)}?",
        r"TEXT: /(?s:.)+/",
    ]
    thoughts = "analysis" if may_think else ""
    if must_call:
        return lark.grammar([f"start: {thoughts and 'analysis?'} preamble? call", *lines])
    said = lark.part(answer) if answer is not None else "TEXT?"
    final = f"final: {lark.literal('<|channel|>final<|message|>')} {said}"
    notes = f"({thoughts} | preamble)*" if thoughts else "preamble*"
    return lark.grammar([f"start: {notes} (call | final)", final, *lines])


def _note(lark: LarkText, channel: str) -> str:
    """A message that another one follows."""
    return f"{lark.literal(f'<|channel|>{channel}<|message|>')} TEXT? {lark.literal(_NOTE_END)}"
