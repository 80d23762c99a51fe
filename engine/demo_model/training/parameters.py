"""One schema parameter: its JSON Schema, a value, and words that state the value in a sentence.

Owns: parameter kinds and their values. Must not know: tools, tasks, chat messages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.vocabulary import CHOICES, TYPED_FIELDS

__all__ = ["Parameter", "make_parameter", "make_parameters", "new_value", "spoken"]

_KINDS = (
    ("text", 20),
    ("person", 8),
    ("place", 10),
    ("word", 8),
    ("integer", 16),
    ("number", 7),
    ("boolean", 5),
    ("enum", 12),
    ("date", 7),
    ("time", 3),
    ("email", 4),
    ("code", 6),
    ("url", 2),
    ("list", 6),
    ("integers", 3),
    ("object", 5),
)
_STRING_KINDS = {
    "text": words.phrase,
    "person": words.person,
    "place": words.place,
    "word": words.any_word,
    "date": words.date,
    "time": words.clock,
    "email": words.email,
    "code": words.choice_code,
    "url": words.url,
}
_DESCRIPTIONS = (
    "The {w}",
    "The {w} to use",
    "{W}",
    "{W} of the {n}",
    "The {w} for the {n}",
    "Which {w}",
    "{W}, for example {x}",
    "The {n}'s {w}",
    "What {w} it has",
    "{W} value",
)


@dataclass(slots=True, frozen=True)
class Parameter:
    """A parameter and the value a question gives it.

    `words` is its name as spoken; `members` holds an object's own parameters.
    """

    name: str
    words: str
    kind: str
    schema: dict[str, Any]
    value: Any
    members: tuple["Parameter", ...] = ()


def new_value(rng: Random, parameter: Parameter) -> Parameter:
    """The same parameter with another value."""
    schema = parameter.schema
    members: tuple[Parameter, ...] = tuple(new_value(rng, member) for member in parameter.members)
    choices = schema.get("enum") or schema.get("items", {}).get("enum") or ()
    value = _value(rng, parameter.kind, choices, members)
    return Parameter(parameter.name, parameter.words, parameter.kind, schema, value, members)


def _value(rng: Random, kind: str, choices: Sequence[str], members: tuple[Parameter, ...]) -> Any:
    if kind in _STRING_KINDS:
        return _STRING_KINDS[kind](rng)
    if kind == "integer":
        return words.integer(rng)
    if kind == "number":
        return words.decimal(rng) if rng.random() < 0.8 else words.integer(rng)
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "enum":
        return rng.choice(list(choices))
    if kind == "list":
        make = rng.choice((words.any_word, words.person, words.place, words.any_word))
        return [make(rng) for _ in range(rng.randint(1, 4))]
    if kind == "integers":
        return [words.integer(rng) for _ in range(rng.randint(2, 4))]
    return {member.name: member.value for member in members}


def _type_schema(rng: Random, kind: str, members: tuple[Parameter, ...]) -> dict[str, Any]:
    if kind in ("integer", "number", "boolean"):
        return {"type": kind}
    if kind == "enum":
        count = rng.randint(2, 4)
        made_up = rng.random() < 0.4
        pool = {words.any_word(rng) if made_up else rng.choice(CHOICES) for _ in range(count + 3)}
        return {"type": "string", "enum": sorted(pool)[:count]}
    if kind in ("list", "integers"):
        item = "string" if kind == "list" else "integer"
        return {"type": "array", "items": {"type": item}}
    if kind == "object":
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {member.name: member.schema for member in members},
        }
        if rng.random() < 0.6:
            schema["required"] = [member.name for member in members]
        return schema
    return {"type": "string"}


def _name(rng: Random, kind: str) -> str:
    typed = TYPED_FIELDS.get(kind)
    roll = rng.random()
    if typed and roll < 0.5:
        return rng.choice(typed)
    first = words.field(rng)
    if roll > 0.75:
        return f"{rng.choice((words.adjective, words.noun, words.noun))(rng)}_{first}"
    return first


def spoken(name: str) -> str:
    """`birth_date` as it is said: `birth date`."""
    return name.replace("_", " ").replace("-", " ")


def make_parameter(
    rng: Random, about: str, *, kind: str | None = None, nested: bool = True
) -> Parameter:
    """A random parameter of a tool or record about `about`, with a value."""
    kinds = [entry for entry in _KINDS if nested or entry[0] not in ("object", "list", "integers")]
    chosen = kind or rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
    members: tuple[Parameter, ...] = ()
    if chosen == "object":
        members = tuple(make_parameters(rng, about, rng.randint(1, 3), nested=False))
    name = _name(rng, chosen)
    schema = _type_schema(rng, chosen, members)
    value = _value(rng, chosen, schema.get("enum", ()), members)
    if rng.random() < 0.5:
        schema["description"] = _description(rng, name, about, chosen)
    return Parameter(name, spoken(name), chosen, schema, value, members)


def _description(rng: Random, name: str, about: str, kind: str) -> str:
    if kind == "date" and rng.random() < 0.5:
        return "Date as YYYY-MM-DD"
    said = spoken(name)
    example = _STRING_KINDS.get(kind, words.any_word)(rng)
    text = rng.choice(_DESCRIPTIONS).format(w=said, W=said.capitalize(), n=about, x=example)
    return text + "." if rng.random() < 0.3 else text


def make_parameters(rng: Random, about: str, count: int, *, nested: bool = True) -> list[Parameter]:
    """`count` parameters whose names differ and are no part of one another."""
    made: list[Parameter] = []
    while len(made) < count:
        candidate = make_parameter(rng, about, nested=nested)
        taken = {word for other in made for word in other.words.split()}
        if not taken & set(candidate.words.split()):
            made.append(candidate)
    return made
