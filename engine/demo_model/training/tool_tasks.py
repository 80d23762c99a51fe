"""Training conversations with tools: one call, several, none, and a result put to use.

Owns: the sentences around tool calls. Must not know: the held-out templates, tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, call, user
from engine.demo_model.training.parameters import Parameter, new_value
from engine.demo_model.training.phrases import (
    clause,
    join_clauses,
    loosened,
    natural_clause,
    said_value,
)
from engine.demo_model.training.tools import Tool, make_tools

__all__ = ["tool_session"]

_OPENERS = (
    "{v} the {o}",
    "{v} a {o}",
    "{v} {o}",
    "Please {v} the {o}",
    "Can you {v} the {o}",
    "Could you {v} {a} {o}",
    "I need to {v} {a} {o}",
    "I want you to {v} the {o}",
    "Help me {v} {a} {o}",
    "{v} my {o}",
    "I would like to {v} {a} {o}",
    "Now {v} {o}",
    "{f}, {v} the {o}",
    "{f} {v} {o}",
    "Let us {v} the {o} {f}",
    "{o} {v}",
    "I am {f} and want to {v} {a} {o}",
    "We have to {v} {a} {o}",
    "Time to {v} {a} {o}",
    "{f} the {o}: {v} it",
)
_VAGUE = (
    "{o}",
    "The {o}",
    "What is the {o}",
    "Show me the {o}",
    "Give me {a} {o}",
    "I need {a} {o}",
    "{f} the {o}",
    "What about the {o}",
    "Tell me the {o}",
    "How is the {o}",
)
_DETERMINERS = ("a", "the", "some", "my", "one", "any", "his", "their")
_JOINTS = (
    " and ",
    ", and ",
    ", then ",
    "; then ",
    ". Also ",
    ". Then ",
    ". ",
    " and also ",
    ". Next, ",
    "; ",
    ". Apart from that, ",
    ", as well as ",
)
_REFUSAL = "None of the tools can do that."
_RESULT_QUESTIONS = (
    "What is the {k}?",
    "Tell me the {k}.",
    "I need the {k}.",
    "The {k}?",
    "Give me the {k}.",
    "All I want to know is the {k}.",
)
# What fits into the longest sequence of a batch, and what a question and its answer take of it.
_SESSION_CHARS = 2200
_TURN_CHARS = 200
# Of sessions that call no tool twice: what a tool takes can be copied from an earlier call, and
# users ask once.
_NEW_SHARE = 0.8
_COURTESIES = ("thanks", "thanks a lot", "please", "thank you", "if you can", "will you", "at once")
_KINDS = ("single", "parallel", "no_call", "tool_result")
_KIND_WEIGHTS = (10, 5, 4, 2)
_SYSTEM = (
    "You are a helpful assistant.",
    "Use the tools when they help.",
    "You call functions.",
    "Be brief.",
)


@dataclass(slots=True, frozen=True)
class Turn:
    """A question and the assistant message to learn; `between` are calls and results before it."""

    question: str
    answer: dict[str, Any]
    between: list[dict[str, Any]] = field(default_factory=list)


def _used(rng: Random, tool: Tool) -> list[Parameter]:
    """What a question states, in its order: all required parameters and half of the others.

    Calls have their arguments in that order too: the next one is then the next one said, while in
    the schema's order each has to be sought twice, there and in the question.
    """
    used = [p for p in tool.parameters if p.name in tool.required or rng.random() < 0.5]
    rng.shuffle(used)
    return used


def _opener(rng: Random, tool: Tool, *, vague: bool) -> str:
    template = loosened(rng, rng.choice(_VAGUE if vague else _OPENERS))
    text = template.format(
        v=tool.verb, o=tool.thing, a=rng.choice(_DETERMINERS), f=words.filler(rng)
    )
    return words.begun(text) if rng.random() < 0.85 else text


def _stated(rng: Random, parameters: Sequence[Parameter]) -> list[str]:
    """One clause per parameter, in their order; at most one per kind goes without its name."""
    kinds = [parameter.kind for parameter in parameters]
    natural = rng.random() < 0.5
    clauses = []
    for parameter in parameters:
        alone = kinds.count(parameter.kind) == 1
        plain = parameter.kind in ("text", "word") and {"text", "word"} <= set(kinds)
        use_natural = natural and alone and not plain
        clauses.append((natural_clause if use_natural else clause)(rng, parameter))
    return clauses


def _ask(rng: Random, tool: Tool, used: Sequence[Parameter], *, vague: bool = False) -> str:
    opener = _opener(rng, tool, vague=vague)
    stated = join_clauses(rng, _stated(rng, used))
    if not stated:
        return opener
    roll = rng.random()
    if roll < 0.72:
        return f"{opener} {stated}"
    if roll < 0.82:
        return f"{opener}, {stated}"
    if roll < 0.92:
        return f"{opener}. {words.begun(stated)}"
    return f"{words.begun(stated)}: {opener}"


def _finish(rng: Random, text: str) -> str:
    roll = rng.random()
    if roll < 0.5:
        text += "."
    elif roll < 0.7:
        text += "?"
    if rng.random() < 0.1:
        text = f"{words.filler(rng).capitalize()}. {text}"
    if rng.random() < 0.1:
        text += " " + rng.choice(("Thanks!", "Please.", "Thank you.", words.filler(rng) + "."))
    elif roll >= 0.7 and rng.random() < 0.3:
        text += f", {rng.choice(_COURTESIES)}."
    return text


def _vague_fits(tools: Sequence[Tool], tool: Tool) -> bool:
    return sum(other.thing == tool.thing for other in tools) == 1


def _shuffled(rng: Random, tools: Sequence[Tool]) -> list[dict[str, Any]]:
    definitions = [tool.definition() for tool in tools]
    rng.shuffle(definitions)
    return definitions


def _arguments(used: Sequence[Parameter]) -> dict[str, Any]:
    return {parameter.name: parameter.value for parameter in used}


def _calls(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def _fresh(rng: Random, tool: Tool) -> Tool:
    """The same tool, asked for with other values."""
    return replace(tool, parameters=tuple(new_value(rng, p) for p in tool.parameters))


def _single_call(rng: Random, tools: Sequence[Tool], tool: Tool) -> Turn:
    """One of `tools` is right; its arguments are copied from the question."""
    used = _used(rng, tool)
    vague = rng.random() < 0.25 and _vague_fits(tools, tool)
    question = _finish(rng, _ask(rng, tool, used, vague=vague))
    return Turn(question, _calls(call(tool.name, _arguments(used))))


def _parallel_calls(rng: Random, tools: Sequence[Tool]) -> Turn:
    """Two or three calls: one tool with several values, or different tools."""
    candidates = [tool for tool in tools if 1 <= len(_flat(tool)) <= 2]
    if candidates and (len(tools) == 1 or rng.random() < 0.5):
        question, calls = _same_tool(rng, rng.choice(candidates))
    else:
        question, calls = _different_tools(rng, tools)
    return Turn(question, _calls(*calls))


def _flat(tool: Tool) -> list[Parameter]:
    return [p for p in tool.parameters if p.kind not in ("list", "integers", "object", "boolean")]


def _same_tool(rng: Random, tool: Tool) -> tuple[str, list[dict[str, Any]]]:
    parameter = _flat(tool)[0]
    count = rng.choice((2, 2, 3))
    values = [new_value(rng, parameter) for _ in range(count)]
    others = [p for p in tool.parameters if p.name in tool.required and p is not parameter]
    opener = _opener(rng, tool, vague=rng.random() < 0.2)
    if others or rng.random() < 0.4:
        parts = []
        rows = []
        for value in values:
            row = [value, *(new_value(rng, other) for other in others)]
            rows.append(row)
            parts.append(join_clauses(rng, [clause(rng, p) for p in row]))
        calls = [call(tool.name, _arguments(row)) for row in rows]
        if rng.random() < 0.6:
            return _finish(rng, _joined(rng, [_ask(rng, tool, row) for row in rows])), calls
        text = f"{opener} {parts[0]}" + "".join(
            # Not a mere "and": that goes on with the same call.
            f"{rng.choice((' and also ', '; then ', ', then ', '; and once more '))}{p}"
            for p in parts[1:]
        )
        return _finish(rng, text), calls
    said = [said_value(rng, value) for value in values]
    listed = ", ".join(said[:-1]) + rng.choice((" and ", ", and ", " and also ")) + said[-1]
    if rng.random() < 0.5:
        sample = natural_clause(rng, parameter)
        text = f"{opener} {rng.choice(('for', 'in', 'of', 'with', sample.split()[0]))} {listed}"
    else:
        text = f"{opener} {rng.choice(('with {p}', 'for the {p}', '{p}', 'for {p}'))} {listed}"
    text = text.replace("{p}", parameter.words)
    return _finish(rng, text), [call(tool.name, {v.name: v.value}) for v in values]


def _different_tools(rng: Random, tools: Sequence[Tool]) -> tuple[str, list[dict[str, Any]]]:
    chosen = rng.sample(list(tools), min(len(tools), rng.choice((2, 2, 3))))
    parts, calls = [], []
    for tool in chosen:
        used = _used(rng, tool)
        parts.append(_ask(rng, tool, used))
        calls.append(call(tool.name, _arguments(used)))
    return _finish(rng, _joined(rng, parts)), calls


def _joined(rng: Random, parts: Sequence[str]) -> str:
    """Requests as one text."""
    text = parts[0]
    for part in parts[1:]:
        joint = loosened(rng, rng.choice(_JOINTS))
        text += joint + (part if joint == ". " else part[0].lower() + part[1:])
    return text


def _no_call(rng: Random, tools: Sequence[Tool]) -> Turn:
    """The question is about something that none of `tools` does."""
    things = {tool.thing for tool in tools}
    odd = make_tools(rng, 1)[0]
    while odd.thing in things:
        odd = make_tools(rng, 1)[0]
    if rng.random() < 0.3:
        odd = replace(odd, verb=rng.choice(list(tools)).verb)
    question = _finish(rng, _ask(rng, odd, _used(rng, odd), vague=rng.random() < 0.3))
    return Turn(question, {"role": "assistant", "content": _REFUSAL})


def _tool_result(rng: Random, tool: Tool) -> Turn:
    """The tool answers, and the reply states the value asked for."""
    used = _used(rng, tool)
    keys = list(dict.fromkeys(words.field(rng) for _ in range(rng.randint(1, 4))))
    make = (words.integer, words.decimal, words.place, words.any_word, words.person, words.date)
    result = {key: rng.choice(make)(rng) for key in keys}
    key = rng.choice(keys)
    ask = loosened(rng, rng.choice(_RESULT_QUESTIONS)).format(k=key)
    question = f"{_finish(rng, _ask(rng, tool, used))} {ask}"
    between = [
        _calls(call(tool.name, _arguments(used))),
        {"role": "tool", "content": json.dumps(result)},
    ]
    answer = {"role": "assistant", "content": f"The {key} is {result[key]}."}
    return Turn(question, answer, between)


def tool_session(rng: Random, task: str, max_tools: int) -> Example:
    """Several questions over one list of tools, the last of kind `task`.

    The list is most of a prompt's length; asking more than once about it makes each token of
    training teach several answers.
    """
    tools = make_tools(rng, rng.randint(1, max_tools))
    if task == "parallel":
        tools = tools[:4]
    definitions = _shuffled(rng, tools)
    num_more = (_SESSION_CHARS - len(json.dumps(definitions))) // _TURN_CHARS
    is_new = rng.random() < _NEW_SHARE
    if is_new:
        num_more = min(num_more, len(tools) - 1)
    kinds = [*rng.choices(_KINDS, _KIND_WEIGHTS, k=rng.randint(0, max(1, num_more))), task]
    called: set[str] = set()
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.2:
        messages.append({"role": "system", "content": rng.choice(_SYSTEM)})
    for kind in kinds:
        fresh = [_fresh(rng, tool) for tool in tools]
        left = [tool for tool in fresh if not is_new or tool.name not in called]
        turn = _turn(rng, kind, fresh, left or fresh)
        messages += [user(turn.question), *turn.between, turn.answer]
        called |= _called((*turn.between, turn.answer))
    return Example(task, messages[:-1], messages[-1], definitions)


def _called(messages: Sequence[dict[str, Any]]) -> set[str]:
    return {made["function"]["name"] for each in messages for made in each.get("tool_calls", ())}


def _turn(rng: Random, kind: str, tools: Sequence[Tool], asked: Sequence[Tool]) -> Turn:
    """A turn over `tools`; the one that is called is of `asked`."""
    if kind == "parallel":
        return _parallel_calls(rng, asked)
    if kind == "no_call":
        return _no_call(rng, tools)
    tool = rng.choice(list(asked))
    return _tool_result(rng, tool) if kind == "tool_result" else _single_call(rng, tools, tool)
