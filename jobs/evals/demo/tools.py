"""Held-out rows with tools: one call, several, none, and a result put to use.

Owns: held-out tool schemas and the questions about them. Must not know: training.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from jobs.evals.demo import vocabulary as words
from jobs.evals.demo.values import Field, clause, joined, make_fields

__all__ = ["no_call", "parallel_calls", "single_call", "tool_result"]

_SUMMARIES = (
    "{V} {a} {n} on request.",
    "Handles requests to {v} the {n}",
    "{V} one {n} per request",
    "Service that can {v} every {n}.",
)
_REQUESTS = (
    "Kindly {v} the {n}",
    "We must {v} one {n} soon",
    "Go ahead and {v} that {n}",
    "My boss asked me to {v} {a} {n}",
    "Would you {v} our {n}",
    "{V} this {n}",
    "It is urgent to {v} the {n}",
    "Somebody ought to {v} {a} {n}",
)
_ENDS = (".", "", "!", "?", ", many thanks.")


@dataclass(slots=True, frozen=True)
class Tool:
    """A held-out function; all its fields are required."""

    verb: str
    thing: str
    fields: tuple[Field, ...]
    summary: str

    @property
    def name(self) -> str:
        """`verb_thing` with underscores."""
        return f"{self.verb}_{self.thing}".replace(" ", "_")

    def definition(self) -> dict[str, Any]:
        """The entry of `tools`."""
        parameters = {
            "type": "object",
            "properties": {field.name: field.schema for field in self.fields},
            "required": [field.name for field in self.fields],
        }
        function = {"name": self.name, "description": self.summary, "parameters": parameters}
        return {"type": "function", "function": function}

    def call(self) -> dict[str, Any]:
        """The call with the stated values."""
        arguments = {field.name: field.value for field in self.fields}
        return {"type": "function", "function": {"name": self.name, "arguments": arguments}}


def _tools(rng: Random, count: int, sizes: tuple[int, ...] = (1, 2, 2, 3)) -> list[Tool]:
    verbs = rng.sample(words.ACTIONS, count)
    nouns = rng.sample(words.NOUNS, count)
    made = []
    for verb, noun in zip(verbs, nouns, strict=True):
        thing = f"{rng.choice(words.ADJECTIVES)} {noun}" if rng.random() < 0.3 else noun
        summary = _fill(rng, rng.choice(_SUMMARIES), verb, thing)
        fields = make_fields(rng, thing, rng.choice(sizes))
        made.append(Tool(verb, thing, tuple(fields), summary))
    if count > 1 and rng.random() < 0.25:
        first = made[0]
        made[1] = Tool(first.verb, made[1].thing, made[1].fields, made[1].summary)
    return made


def _fill(rng: Random, template: str, verb: str, thing: str) -> str:
    article = rng.choice(("one", "the", "each"))
    return template.format(v=verb, V=verb.capitalize(), n=thing, a=article)


def _request(rng: Random, tool: Tool) -> str:
    stated = joined(rng, [clause(rng, field) for field in tool.fields])
    opening = _fill(rng, rng.choice(_REQUESTS), tool.verb, tool.thing)
    return opening + rng.choice((", ", " ", ": ")) + stated if stated else opening


def _body(rng: Random, question: str, tools: list[Tool]) -> dict[str, Any]:
    offered = [tool.definition() for tool in tools]
    rng.shuffle(offered)
    messages = [{"role": "user", "content": question}]
    if rng.random() < 0.15:
        messages.insert(0, {"role": "system", "content": "Act for the caller with care."})
    return {"messages": messages, "tools": offered}


def _answer(*tools: Tool) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": [tool.call() for tool in tools]}


def single_call(rng: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """One tool of one to six fits."""
    tools = _tools(rng, rng.randint(1, 6))
    return _body(rng, _request(rng, tools[0]) + rng.choice(_ENDS), tools), _answer(tools[0])


def parallel_calls(rng: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two different tools, or one tool twice with different values."""
    tools = _tools(rng, rng.randint(2, 4), (1, 1, 2))
    first, second = tools[0], tools[1]
    if rng.random() < 0.5:
        fresh = {field.name: field for field in first.fields if field.kind != "object"}
        values = tuple(_again(rng, field) for field in fresh.values())
        first = Tool(first.verb, first.thing, tuple(fresh.values()) or first.fields, first.summary)
        second = Tool(first.verb, first.thing, values or first.fields, first.summary)
        offered = [first, *tools[1:]]
    else:
        offered = tools
    joint = rng.choice((". After that ", "; besides, ", ". Moreover, ", " - plus "))
    rest = _request(rng, second)
    question = _request(rng, first) + joint + rest[0].lower() + rest[1:] + rng.choice(_ENDS)
    return _body(rng, question, offered), _answer(first, second)


def _again(rng: Random, field: Field) -> Field:
    while True:
        for other in make_fields(rng, "", 12):
            same_choices = other.schema.get("enum") == field.schema.get("enum")
            if other.kind == field.kind and same_choices and field.kind != "object":
                return Field(field.name, field.kind, field.schema, other.value)


def no_call(rng: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """No tool does what is asked."""
    tools = _tools(rng, rng.randint(2, 5))
    question = _request(rng, tools[0]) + rng.choice(_ENDS)
    refusal = {"role": "assistant", "content": "None of the tools can do that."}
    offered = [tool for tool in tools[1:] if tool.verb != tools[0].verb]
    return (
        _body(rng, question, offered or _tools(rng, 1)),
        refusal,
    )


def tool_result(rng: Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result is there; the answer names the value asked for."""
    tool = _tools(rng, 1)[0]
    facts = {f.name: f.value for f in make_fields(rng, tool.thing, 3, nested=False)}
    key = rng.choice(list(facts))
    body = _body(rng, f"{_request(rng, tool)}. I wish to learn its {key}.", [tool])
    made = tool.call()["function"]
    function = {**made, "arguments": json.dumps(made["arguments"], ensure_ascii=False)}
    call = {"id": "call_1", "type": "function", "function": function}
    body["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(facts)},
    ]
    return body, {"role": "assistant", "content": f"The {key} is {facts[key]}."}
