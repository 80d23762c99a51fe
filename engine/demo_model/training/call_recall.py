"""Exercises of whole tool calls whose words are random tokens.

Owns: lists of tools, questions that state values by the names of parameters, and the calls. Must
not know: the model, other exercises. Each tool is asked for once: its parameters stand in the list
of tools and nowhere else, while in a conversation they can be copied from an earlier call. Some
questions ask for two calls, of two tools or of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from engine.demo_model.training.exercise_writer import ASKED, Writer

__all__ = ["call_exercise"]

_TOKENS_PER_TOOL = 110  # in the list, its question and its answer
_MOST_TOOLS = 4
_PARALLEL_SHARE = 0.25
_LOOSE_SHARE = 0.35
_NUM_KEYS = 7
_LINKS = (" ", " is ", ": ", " = ", " equal to ", " set to ", " being ", " of ", " - ", ' "')
_BACKWARD_LINKS = (" as ", " for the ", " as the ", " for ", " is the ", " down as ")
_JOINTS = (", ", " and ", ", and ", "; ", " with ", ", the ", " and the ", ". ")
_NEXT = (". ", " and ", ", and ", "; ", ", ", " - ", ", then ", "? ", "! ")
_ENDS = (".", "", "?", "!", ". ")


@dataclass(slots=True, frozen=True)
class _Key:
    """A parameter: its tokens, and whether its values are whole numbers."""

    tokens: tuple[int, ...]
    is_number: bool


@dataclass(slots=True, frozen=True)
class _Tool:
    name: tuple[int, ...]
    keys: tuple[_Key, ...]
    num_required: int


def call_exercise(
    rng: Random, writer: Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """A list of tools, then for each of them a question and the call that answers it."""
    count = max(1, min(rng.randint(1, _MOST_TOOLS), room // _TOKENS_PER_TOOL))
    tokens = rng.sample(vocabulary, 3 * count + 2 * _NUM_KEYS)
    pool = [
        _Key(tuple(tokens.pop() for _ in range(rng.choice((1, 1, 2)))), rng.random() < 0.3)
        for _ in range(_NUM_KEYS)
    ]
    tools = []
    for _ in range(count):
        keys = tuple(rng.sample(pool, rng.choice((0, 1, 1, 2, 2, 3, 4))))
        name = tuple(tokens.pop() for _ in range(rng.choice((2, 2, 3))))
        tools.append(_Tool(name, keys, rng.randint(0, len(keys))))
    for tool in tools:
        _list_tool(rng, writer, tool, vocabulary)
    rng.shuffle(tools)
    while tools:
        asked = [tools.pop()]
        if rng.random() < _PARALLEL_SHARE:
            asked.append(tools.pop() if tools and rng.random() < 0.6 else asked[0])
        _ask(rng, writer, asked, vocabulary, alphabet)


def _list_tool(rng: Random, writer: Writer, tool: _Tool, vocabulary: Sequence[int]) -> None:
    writer.add('{"type": "function", "function": {"name": "')
    writer.add(writer.joined(tool.name, "_"))
    writer.add('", "description": "')
    fillers = rng.choices(vocabulary, k=rng.randint(0, 3))
    writer.add(writer.joined((*fillers, *tool.name), " "))
    if not tool.keys:
        writer.add('", "parameters": {"type": "object", "properties": {}}}}\n')
        return
    between = '", "parameters": {"type": "object", "properties": {"'
    for key in tool.keys:
        writer.add(between)
        writer.add(writer.joined(key.tokens, "_"))
        kind = "integer" if key.is_number else "string"
        between = f'": {{"type": "{kind}"}}, "'
        if rng.random() < 0.5:
            writer.add(f'": {{"type": "{kind}", "description": "')
            about = (*rng.choices(vocabulary, k=rng.randint(0, 2)), *key.tokens)
            writer.add(writer.joined(about, " "))
            between = '"}, "'
    between = between.removesuffix(', "') + '}, "required": ["'
    for key in tool.keys[: tool.num_required]:
        writer.add(between)
        writer.add(writer.joined(key.tokens, "_"))
        between = '", "'
    writer.add('"]}}}\n' if tool.num_required else between.partition(", ")[0] + "}}}\n")


def _ask(
    rng: Random,
    writer: Writer,
    tools: Sequence[_Tool],
    vocabulary: Sequence[int],
    alphabet: Sequence[int],
) -> None:
    """One question that asks for `tools` in turn, and the calls."""
    writer.add("<|im_start|>user\n")
    stated = []
    for index, tool in enumerate(tools):
        if index:
            writer.add(rng.choice(_NEXT))
        stated.append(_request(rng, writer, tool, vocabulary, alphabet))
    writer.add(rng.choice(_ENDS) + ASKED)
    for index, (tool, values) in enumerate(zip(tools, stated, strict=True)):
        writer.add("\n<tool_call>\n" if index else "<tool_call>\n", learnt=True)
        _call(writer, tool, values)
    writer.add("<|im_end|>", learnt=True)
    writer.add("\n")


def _request(
    rng: Random,
    writer: Writer,
    tool: _Tool,
    vocabulary: Sequence[int],
    alphabet: Sequence[int],
) -> dict[_Key, Sequence[int]]:
    """Words that ask for `tool`; returns the values they state, in the order they are stated."""
    stated = [
        key for at, key in enumerate(tool.keys) if at < tool.num_required or rng.random() < 0.5
    ]
    rng.shuffle(stated)
    values = {key: _value(rng, writer, key, alphabet) for key in stated}

    def fillers(least: int, most: int) -> list[int]:
        return writer.joined(rng.choices(vocabulary, k=rng.randint(least, most)), " ")

    writer.add(fillers(0, 3))
    writer.add(" ")
    writer.add(writer.joined(tool.name, "_" if rng.random() < 0.1 else " "))
    for key in stated:
        said, value = writer.joined(key.tokens, " "), values[key]
        is_backward = rng.random() < 0.3
        writer.add(rng.choice(_JOINTS))
        if rng.random() < _LOOSE_SHARE:
            # Any words may stand around a value that shows where it begins and where it ends.
            quote = "" if key.is_number else '"'
            shown = (*writer.encoded(quote), *value, *writer.encoded(quote))
            first, second = (shown, said) if is_backward else (said, shown)
            for part in (fillers(0, 1), " ", first, " ", fillers(1, 2), " ", second):
                writer.add(part)
            continue
        writer.add(value if is_backward else said)
        writer.add(rng.choice(_BACKWARD_LINKS if is_backward else _LINKS))
        writer.add(said if is_backward else value)
    return values


def _call(writer: Writer, tool: _Tool, values: dict[_Key, Sequence[int]]) -> None:
    writer.add('{"name": "', learnt=True)
    writer.add(writer.joined(tool.name, "_"), learnt=True)
    between = '", "arguments": {"'
    for key, value in values.items():
        writer.add(between, learnt=True)
        writer.add(writer.joined(key.tokens, "_"), learnt=True)
        writer.add('": ' if key.is_number else '": "', learnt=True)
        writer.add(value, learnt=True)
        between = ', "' if key.is_number else '", "'
    last = between.removesuffix(', "') if values else '", "arguments": {'
    writer.add(last + "}}\n</tool_call>", learnt=True)


def _value(rng: Random, writer: Writer, key: _Key, alphabet: Sequence[int]) -> Sequence[int]:
    if key.is_number:
        return writer.encoded(
            str(rng.randint(0, 9_999) if rng.random() < 0.5 else rng.randint(0, 99))
        )
    return writer.joined(
        rng.choices(alphabet, k=rng.randint(1, 4)), rng.choice((" ", " ", "-", ""))
    )
