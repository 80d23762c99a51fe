"""How a training question states a parameter's value.

Owns: clause templates of the training side. Must not know: tools, the held-out templates.
"""

import json
import re
from collections.abc import Sequence
from random import Random

from engine.demo_model.training import words
from engine.demo_model.training.parameters import Parameter

__all__ = ["clause", "join_clauses", "loosened", "natural_clause", "said_list", "said_value"]

_CLAUSES = (
    "with {p} {v}",
    "with the {p} {v}",
    "{p} {v}",
    "{p}: {v}",
    "{p} = {v}",
    "{p} is {v}",
    "the {p} is {v}",
    "the {p} should be {v}",
    "using {v} as the {p}",
    "{v} as {p}",
    "{v} for the {p}",
    "whose {p} is {v}",
    "set the {p} to {v}",
    "{p} of {v}",
    "a {p} of {v}",
    "{p} set to {v}",
    "where the {p} is {v}",
    "its {p} is {v}",
    "use {v} for {p}",
    "{p} equal to {v}",
    "I want the {p} to be {v}",
    "choose {v} as {p}",
    "let the {p} be {v}",
    "give it the {p} {v}",
    "{v} is the {p}",
    "{p} needs to be {v}",
    "enter {v} under {p}",
    "go for {v} as its {p}",
    "{p} => {v}",
    "{p}={v}",
    "as {p} I want {v}",
    "the {p}, {v}",
    "I chose {v} for the {p}",
    "{p} would be {v}",
    "with {v} for {p}",
    "fill in {v} as the {p}",
    "under {p} write {v}",
    "{p} has to be {v}",
    "keep the {p} at {v}",
    "that has {v} for a {p}",
    "{p} comes to {v}",
)
# Words that mean nothing, for values that show where they begin.
_FILLED = (
    "{p} {f} {v}",
    "the {p} {f} {v}",
    "{f} {p} {v}",
    "{f} the {p} {v}",
    "{f} {v} {f} the {p}",
    "{f} {v} {f} {p}",
    "{f} the {p} {f} {v}",
    "{f} {p} {f} {v}",
)
_FILLED_SHARE = 0.25
_LOOSENED_SHARE = 0.45
_REPLACED_SHARE = 0.45
_NATURAL = {
    "place": ("in {v}", "for {v}", "to {v}", "near {v}", "at {v}", "from {v}", "around {v}"),
    "person": ("for {v}", "by {v}", "with {v}", "to {v}", "from {v}"),
    "date": ("on {v}", "for {v}", "from {v}", "by {v}", "before {v}", "dated {v}"),
    "time": ("at {v}", "by {v}", "around {v}", "for {v}"),
    "email": ("to {v}", "for {v}", "at {v}", "via {v}"),
    "url": ("from {v}", "at {v}", "for {v}"),
    "code": ("{v}", "number {v}", "for {v}", "with {v}"),
    "enum": ("in {v}", "as {v}", "with {v}", "{v}", "{v} please", "{f} {v}"),
    "integer": ("{v} {p}", "for {v} {p}", "with {v} {p}"),
    "number": ("{v} {p}", "for {v} {p}", "with {v} {p}"),
    "text": ('called "{r}"', 'named "{r}"', '"{r}"', 'titled "{r}"', 'saying "{r}"'),
    "word": ('called "{r}"', '"{r}"', "for {v}", "of {v}"),
}
# What stands beside a number in a sentence and is no part of its value.
_UNITS = (
    "{}%", "${}", "{:,}", "${:,}", "{} {u}", "{} {u}s", "{}kg", "{}m", "{} km", "{}K", "{} percent",
    "{} m/s", "€{}", "{} dollars", "{} years", "{} units", "{}cm", "{} degrees",
)  # fmt: skip
_UNIT_SHARE = 0.15
_PART_SHARE = 0.12
_WORD = re.compile(r"(?<![{\w])[A-Za-z]+(?![}\w])")
_OBJECTS = (
    "with {p} ({c})",
    "{p}: {c}",
    "{p} with {c}",
    "the {p} has {c}",
    "{p} ({c})",
    "{p} {f} {c}",
)
_TRUE = (
    "with {p}",
    "{p} on",
    "enable {p}",
    "{p}: yes",
    "and turn on {p}",
    "{p} enabled",
    "{p} true",
    "including {p}",
    "add {p}",
    "{p} is needed",
    "I want {p}",
    "we require {p}",
    "{p} included",
    "{p} to be included",
    "{p} wanted",
    "also add {p}",
    "do have {p}",
    "{p} must be there",
    "requires {p}",
)
_FALSE = (
    "without {p}",
    "no {p}",
    "{p} off",
    "disable {p}",
    "{p}: no",
    "{p} disabled",
    "{p} false",
    "leaving {p} out",
    "{p} is not needed",
    "I do not want {p}",
    "skipping {p}",
    "never mind {p}",
    "leave the {p} out",
    "{p} unwanted",
    "omit {p}",
    "do not add {p}",
    "{p} not required",
    "not with {p}",
    "drop the {p}",
    "no {p} wanted",
)


def loosened(rng: Random, template: str, share: float = _LOOSENED_SHARE) -> str:
    """The template, or with probability `share` one with other words in some of its words' places.

    A few dozen templates are soon learnt by heart; this way only their order can be relied on.
    """
    if rng.random() >= share:
        return template
    return _WORD.sub(
        lambda word: (
            rng.choice((words.plain, words.plain, words.pseudo_word))(rng)
            if rng.random() < _REPLACED_SHARE
            else word.group()
        ),
        template,
    )


def said_list(rng: Random, values: Sequence[object]) -> str:
    """`a, b and c`, or the same as a JSON list."""
    texts = [str(value) for value in values]
    roll = rng.random()
    if roll < 0.12:
        return json.dumps(list(values))
    if roll < 0.3 or len(texts) == 1:
        return ", ".join(texts)
    return ", ".join(texts[:-1]) + f" and {texts[-1]}"


def said_value(rng: Random, parameter: Parameter) -> str:
    """A parameter's value as a person writes it."""
    value = parameter.value
    if parameter.kind in ("list", "integers"):
        return said_list(rng, value)
    if parameter.kind in ("text", "word") and (" " in str(value) or rng.random() < 0.3):
        return rng.choice(('"{}"', '"{}"', "'{}'", "{}")).format(value)
    if parameter.kind in ("integer", "number") and rng.random() < _UNIT_SHARE:
        return rng.choice(_UNITS).format(value, u=words.plain(rng))
    return str(value)


def clause(rng: Random, parameter: Parameter) -> str:
    """One clause that gives the value next to the parameter's name."""
    if parameter.kind == "boolean":
        template = rng.choice(_TRUE if parameter.value else _FALSE)
        return template.format(p=parameter.words)
    if parameter.kind == "object":
        inner = join_clauses(rng, [clause(rng, member) for member in parameter.members])
        return rng.choice(_OBJECTS).format(p=parameter.words, c=inner, f=words.filler(rng))
    said = said_value(rng, parameter)
    is_marked = _is_marked(parameter, said)
    template = rng.choice(_FILLED if is_marked and rng.random() < _FILLED_SHARE else _CLAUSES)
    if is_marked:  # else the words beside the value could be taken for a part of it
        template = loosened(rng, template)
    return template.format(p=_called(rng, parameter), v=said, f=words.filler(rng))


def _called(rng: Random, parameter: Parameter) -> str:
    """A parameter's name, or one of its words: no two parameters of a tool share one."""
    parts = parameter.words.split()
    return rng.choice(parts) if rng.random() < _PART_SHARE else parameter.words


def _is_marked(parameter: Parameter, said: str) -> bool:
    """Whether the value shows where it begins and ends."""
    if parameter.kind == "list":
        return all(item[0].isupper() for item in parameter.value)
    return parameter.kind not in ("text", "word") or said[0] in "\"'"


def natural_clause(rng: Random, parameter: Parameter) -> str:
    """A clause that leaves the parameter's name out where its kind makes it plain."""
    templates = _NATURAL.get(parameter.kind)
    if templates is None:
        return clause(rng, parameter)
    return rng.choice(templates).format(
        v=said_value(rng, parameter),
        r=parameter.value,
        p=parameter.words,
        f=words.filler(rng),
    )


def join_clauses(rng: Random, clauses: Sequence[str]) -> str:
    """Clauses as one run of text."""
    if len(clauses) < 2:
        return "".join(clauses)
    roll = rng.random()
    if roll < 0.45:
        return ", ".join(clauses[:-1]) + " and " + clauses[-1]
    if roll < 0.8:
        return ", ".join(clauses)
    if roll < 0.9:
        return " and ".join(clauses)
    return "; ".join(clauses)
