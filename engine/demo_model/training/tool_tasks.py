"""Training conversations with tools: one call, several, none, and a result put to use.

Owns: the sentences around tool calls. Must not know: the held-out templates, tokens.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, call, user
from engine.demo_model.training.parameters import Parameter, new_value
from engine.demo_model.training.phrases import clause, join_clauses, natural_clause, said_value
from engine.demo_model.training.tools import Tool, make_tools

__all__ = ["no_call", "parallel_calls", "single_call", "tool_result"]

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
_REFUSALS = (
    "None of the tools can do that.",
    "I have no tool for that.",
    "Sorry, no tool fits that.",
)
_SYSTEM = (
    "You are a helpful assistant.",
    "Use the tools when they help.",
    "You call functions.",
    "Be brief.",
)


def _used(rng: Random, tool: Tool) -> list[Parameter]:
    """The parameters a question states: all required ones and half of the others."""
    return [p for p in tool.parameters if p.name in tool.required or rng.random() < 0.5]


def _opener(rng: Random, tool: Tool, *, vague: bool) -> str:
    template = rng.choice(_VAGUE if vague else _OPENERS)
    text = template.format(
        v=tool.verb, o=tool.thing, a=rng.choice(("a", "the", "some", "my")), f=words.filler(rng)
    )
    return text[0].upper() + text[1:] if rng.random() < 0.85 else text


def _stated(rng: Random, parameters: Sequence[Parameter]) -> list[str]:
    """One clause per parameter, in random order; at most one per kind goes without its name."""
    kinds = [parameter.kind for parameter in parameters]
    natural = rng.random() < 0.5
    clauses = []
    for parameter in parameters:
        alone = kinds.count(parameter.kind) == 1
        plain = parameter.kind in ("text", "word") and {"text", "word"} <= set(kinds)
        use_natural = natural and alone and not plain
        clauses.append((natural_clause if use_natural else clause)(rng, parameter))
    rng.shuffle(clauses)
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
        return f"{opener}. {stated[0].upper() + stated[1:]}"
    return f"{stated[0].upper() + stated[1:]}: {opener}"


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
    return text


def _system(rng: Random) -> list[dict[str, Any]]:
    if rng.random() < 0.2:
        return [{"role": "system", "content": rng.choice(_SYSTEM)}]
    return []


def _vague_fits(tools: Sequence[Tool]) -> bool:
    return sum(tool.thing == tools[0].thing for tool in tools) == 1


def _shuffled(rng: Random, tools: Sequence[Tool]) -> list[dict[str, Any]]:
    definitions = [tool.definition() for tool in tools]
    rng.shuffle(definitions)
    return definitions


def _arguments(used: Sequence[Parameter], tool: Tool) -> dict[str, Any]:
    names = {parameter.name for parameter in used}
    return {p.name: p.value for p in tool.parameters if p.name in names}


def _calls(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


def single_call(rng: Random, max_tools: int) -> Example:
    """One tool of several is right; its arguments are copied from the question."""
    tools = make_tools(rng, rng.randint(1, max_tools))
    tool = tools[0]
    used = _used(rng, tool)
    vague = rng.random() < 0.25 and _vague_fits(tools)
    question = _finish(rng, _ask(rng, tool, used, vague=vague))
    answer = _calls(call(tool.name, _arguments(used, tool)))
    return Example("single", [*_system(rng), user(question)], answer, _shuffled(rng, tools))


def parallel_calls(rng: Random, max_tools: int) -> Example:
    """Two or three calls: one tool with several values, or different tools."""
    tools = make_tools(rng, rng.randint(1, max_tools))
    candidates = [tool for tool in tools if 1 <= len(_flat(tool)) <= 2]
    if candidates and (len(tools) == 1 or rng.random() < 0.5):
        question, calls = _same_tool(rng, rng.choice(candidates))
    else:
        question, calls = _different_tools(rng, tools)
    answer = _calls(*calls)
    return Example("parallel", [*_system(rng), user(question)], answer, _shuffled(rng, tools))


def _flat(tool: Tool) -> list[Parameter]:
    return [p for p in tool.parameters if p.kind not in ("list", "integers", "object", "boolean")]


def _same_tool(rng: Random, tool: Tool) -> tuple[str, list[dict[str, Any]]]:
    parameter = _flat(tool)[0]
    count = rng.choice((2, 2, 3))
    values = [new_value(rng, parameter) for _ in range(count)]
    others = [p for p in tool.parameters if p.name in tool.required and p is not parameter]
    opener = _opener(rng, tool, vague=rng.random() < 0.2)
    if others:
        parts = []
        rows = []
        for value in values:
            row = [value, *(new_value(rng, other) for other in others)]
            rows.append(row)
            parts.append(join_clauses(rng, [clause(rng, p) for p in row]))
        text = f"{opener} {parts[0]}" + "".join(
            f"{rng.choice((', and ', ' and also ', '; then ', ', then '))}{p}" for p in parts[1:]
        )
        calls = [call(tool.name, _arguments_of(row, tool)) for row in rows]
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


def _arguments_of(row: Sequence[Parameter], tool: Tool) -> dict[str, Any]:
    values = {parameter.name: parameter.value for parameter in row}
    return {p.name: values[p.name] for p in tool.parameters if p.name in values}


def _different_tools(rng: Random, tools: Sequence[Tool]) -> tuple[str, list[dict[str, Any]]]:
    chosen = rng.sample(list(tools), min(len(tools), rng.choice((2, 2, 3))))
    parts, calls = [], []
    for tool in chosen:
        used = _used(rng, tool)
        parts.append(_ask(rng, tool, used))
        calls.append(call(tool.name, _arguments(used, tool)))
    text = parts[0]
    for part in parts[1:]:
        joint = rng.choice((" and ", ", and ", ", then ", ". Also ", ". Then ", ". ", " and also "))
        lowered = part if joint == ". " else part[0].lower() + part[1:]
        text += joint + lowered
    return _finish(rng, text), calls


def no_call(rng: Random, max_tools: int) -> Example:
    """The question is about something that no tool does."""
    tools = make_tools(rng, rng.randint(2, max_tools + 1))
    odd, offered = tools[0], tools[1:]
    offered = [tool for tool in offered if tool.thing != odd.thing]
    if not offered:
        return no_call(rng, max_tools)
    question = _finish(rng, _ask(rng, odd, _used(rng, odd), vague=rng.random() < 0.3))
    answer = {"role": "assistant", "content": _REFUSALS[0]}
    return Example("no_call", [*_system(rng), user(question)], answer, _shuffled(rng, offered))


def tool_result(rng: Random, max_tools: int) -> Example:
    """The tool has answered; the reply states the value asked for."""
    tools = make_tools(rng, rng.randint(1, min(2, max_tools)))
    tool = tools[0]
    used = _used(rng, tool)
    keys = list(dict.fromkeys(words.field(rng) for _ in range(rng.randint(1, 4))))
    make = (words.integer, words.decimal, words.place, words.any_word, words.person, words.date)
    result = {key: rng.choice(make)(rng) for key in keys}
    key = rng.choice(keys)
    ask = rng.choice(
        ("What is the {k}?", "Tell me the {k}.", "I need the {k}.", "The {k}?", "Give me the {k}.")
    ).format(k=key)
    question = f"{_finish(rng, _ask(rng, tool, used))} {ask}"
    messages = [
        user(question),
        _calls(call(tool.name, _arguments(used, tool))),
        {"role": "tool", "content": json.dumps(result)},
    ]
    answer = {"role": "assistant", "content": f"The {key} is {result[key]}."}
    return Example("tool_result", messages, answer, _shuffled(rng, tools))
