"""Random tools: a name, a description and parameters, as OpenAI function definitions.

Owns: how training schemas look. Must not know: questions, chat messages.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.parameters import Parameter, make_parameters
from engine.demo_model.training.phrases import loosened

__all__ = ["Tool", "make_tool", "make_tools"]

_DESCRIPTIONS = (
    "{V} {a} {o}",
    "{V} the {o}",
    "{V} {o}",
    "{V} {a} {o} {f}",
    "Use this to {v} {a} {o}",
    "Tool to {v} {o}",
    "{V} {o} for the user",
    "Lets you {v} {a} {o}",
    "{O}: {v} it",
)


@dataclass(slots=True, frozen=True)
class Tool:
    """A function a model may call; `verb` and `thing` are the words a question uses."""

    name: str
    verb: str
    thing: str
    description: str
    parameters: tuple[Parameter, ...]
    required: tuple[str, ...]

    def definition(self) -> dict[str, Any]:
        """The entry of a request's `tools`."""
        parameters: dict[str, Any] = {
            "type": "object",
            "properties": {parameter.name: parameter.schema for parameter in self.parameters},
        }
        if self.required:
            parameters["required"] = list(self.required)
        function: dict[str, Any] = {"name": self.name}
        if self.description:
            function["description"] = self.description
        function["parameters"] = parameters
        return {"type": "function", "function": function}


def _styled(rng: Random, parts: list[str]) -> str:
    roll = rng.random()
    if roll < 0.78:
        return "_".join(parts)
    if roll < 0.92:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return rng.choice(("-", ".")).join(parts)


def make_tool(rng: Random, verb: str, thing: str, *, num_parameters: int | None = None) -> Tool:
    """A tool that does `verb` to `thing` with random parameters."""
    count = rng.choice((0, 1, 1, 1, 2, 2, 2, 3, 3, 4)) if num_parameters is None else num_parameters
    parameters = make_parameters(rng, thing, count)
    optional = 1 if count > 1 and rng.random() < 0.3 else 0
    required = tuple(parameter.name for parameter in parameters[: count - optional])
    parts = [verb, *thing.split()]
    if rng.random() < 0.1:
        parts = [*thing.split(), verb]
    description = ""
    if rng.random() < 0.9:
        description = loosened(rng, rng.choice(_DESCRIPTIONS)).format(
            v=verb,
            V=verb.capitalize(),
            o=thing,
            O=thing.capitalize(),
            a=rng.choice(("a", "the", "one", "some")),
            f=words.filler(rng),
        )
    if description and rng.random() < 0.15:  # those of real tools go on
        description += "".join(f" {words.filler(rng)}" for _ in range(rng.randint(1, 4)))
    if description and rng.random() < 0.4:
        description += "."
    return Tool(_styled(rng, parts), verb, thing, description, tuple(parameters), required)


def _thing(rng: Random) -> str:
    roll = rng.random()
    if roll < 0.25:
        return f"{words.adjective(rng)} {words.noun(rng)}"
    if roll < 0.4:
        return f"{words.noun(rng)} {words.noun(rng)}"
    return words.noun(rng)


def make_tools(rng: Random, count: int) -> list[Tool]:
    """`count` tools of which some share a verb or a noun, in random order; the first is hardest."""
    tools: list[Tool] = []
    names: set[str] = set()
    while len(tools) < count:
        verb, thing = words.action(rng), _thing(rng)
        if tools and rng.random() < 0.3:
            if rng.random() < 0.5:
                verb = tools[0].verb
            else:
                thing = tools[0].thing
        sizes = (0, 1, 1, 2) if count > 3 else (0, 1, 1, 2, 2, 3)
        made = make_tool(rng, verb, thing, num_parameters=rng.choice(sizes) if tools else None)
        if made.name not in names and (verb, thing) not in {(t.verb, t.thing) for t in tools}:
            names.add(made.name)
            tools.append(made)
    return tools
