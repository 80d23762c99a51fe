"""Held-out parameters: a schema, a value and the sentence that states it.

Owns: value makers and clause templates of the held-out suite. Must not know: tools, training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from jobs.evals.demo import vocabulary as words

__all__ = ["Field", "clause", "joined", "make_fields", "title"]

_SCALARS = ("text", "person", "place", "integer", "number", "date", "email", "code", "enum")
_WEIGHTS = (18, 10, 12, 20, 8, 9, 4, 7, 12)
_NESTED = ("boolean", "list", "object")
_HINTS = (
    "{W} wanted for the {n}",
    "Give the {w} here",
    "{W} that applies",
    "Holds the {w}",
    "Requested {w}",
)
_CLAUSES = (
    "having {p} {v}",
    "its {p} being {v}",
    "put {v} down as {p}",
    "make the {p} {v}",
    "the {p} must be {v}",
    "taking {v} as the {p}",
    "for the {p} take {v}",
    "{p} - {v}",
    "and {p} equals {v}",
    "a {p} reading {v}",
)
_YES = ("include {p}", "{p} required", "do add {p}")
_NO = ("leave out {p}", "{p} not wanted", "skip the {p}")


@dataclass(slots=True, frozen=True)
class Field:
    """A parameter; `members` are an object's own fields."""

    name: str
    kind: str
    schema: dict[str, Any]
    value: Any
    members: tuple["Field", ...] = ()

    @property
    def spoken(self) -> str:
        """The name as it is said."""
        return self.name.replace("_", " ")


def title(rng: Random) -> str:
    """Free text of two or three words."""
    text = " ".join(rng.sample(words.TITLE_WORDS, rng.randint(2, 3)))
    return rng.choice((text, text.title(), text.capitalize()))


def _scalar(rng: Random, kind: str) -> Any:
    person = f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"
    return {
        "text": title(rng),
        "person": person,
        "place": rng.choice(words.PLACES),
        "integer": rng.randint(1, rng.choice((9, 90, 900, 9000))),
        "number": rng.randint(1, 999) + rng.randint(1, 9) / 10,
        "date": f"{rng.randint(2021, 2034)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
        "email": person.lower().replace(" ", ".") + "@" + rng.choice(words.HOSTS),
        "code": "".join(rng.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=2)) + f"-{rng.randint(100, 99999)}",
    }[kind]


def _field(rng: Random, about: str, kind: str, name: str) -> Field:
    members: tuple[Field, ...] = ()
    schema: dict[str, Any] = {"type": "string"}
    value: Any
    if kind == "enum":
        choices = rng.choice(words.CHOICES)
        schema["enum"] = list(choices)
        value = rng.choice(choices)
    elif kind == "boolean":
        schema, value = {"type": "boolean"}, rng.random() < 0.5
    elif kind == "list":
        schema = {"type": "array", "items": {"type": "string"}}
        value = rng.sample(rng.choice((words.FIRST_NAMES, words.PLACES)), rng.randint(2, 3))
    elif kind == "object":
        kinds = rng.sample(sorted(words.MEMBERS), 2)
        members = tuple(_field(rng, about, k, rng.choice(words.MEMBERS[k])) for k in kinds)
        schema = {"type": "object", "properties": {m.name: m.schema for m in members}}
        schema["required"] = [m.name for m in members]
        value = {m.name: m.value for m in members}
    else:
        schema["type"] = kind if kind in ("integer", "number") else "string"
        value = _scalar(rng, kind)
    if rng.random() < 0.5:
        spoken = name.replace("_", " ")
        schema["description"] = rng.choice(_HINTS).format(w=spoken, W=spoken.capitalize(), n=about)
    return Field(name, kind, schema, value, members)


def make_fields(rng: Random, about: str, count: int, *, nested: bool = True) -> list[Field]:
    """`count` fields with different names about a thing called `about`."""
    made: dict[str, Field] = {}
    while len(made) < count:
        kind = rng.choices(_SCALARS, _WEIGHTS)[0]
        if nested and rng.random() < 0.15:
            kind = rng.choice(_NESTED)
        name = rng.choice(words.FIELDS[kind])
        made.setdefault(name, _field(rng, about, kind, name))
    return list(made.values())


def clause(rng: Random, field: Field) -> str:
    """Words that state the field's value."""
    if field.kind == "boolean":
        return rng.choice(_YES if field.value else _NO).format(p=field.spoken)
    if field.kind == "object":
        inner = " and ".join(f"{m.spoken} {said(m)}" for m in field.members)
        return f"{field.spoken} having {inner}"
    return rng.choice(_CLAUSES).format(p=field.spoken, v=said(field))


def said(field: Field) -> str:
    """A value as text."""
    if isinstance(field.value, list):
        return ", ".join(field.value[:-1]) + f" and {field.value[-1]}"
    return f'"{field.value}"' if field.kind == "text" else str(field.value)


def joined(rng: Random, clauses: Sequence[str]) -> str:
    """Clauses in random order as one run of text."""
    parts = [part.removeprefix("and ") for part in clauses]
    rng.shuffle(parts)
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + rng.choice((", and ", " and ", ", ")) + parts[-1]
