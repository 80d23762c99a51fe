"""Training conversations without tools: extraction, classification, copying.

Owns: their sentences and answers. Must not know: the held-out templates, tokens.
"""

import json
from random import Random
from typing import Any

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, user
from engine.demo_model.training.parameters import Parameter, make_parameters, new_value
from engine.demo_model.training.phrases import clause, join_clauses, loosened, natural_clause

__all__ = ["classification", "extraction", "lookup", "repeating"]

_EXTRACT = (
    "Extract {s} as JSON from: {t}",
    "Read the text and fill this JSON schema: {s}\nText: {t}",
    "{t}\n\nGive the data above as JSON. Schema: {s}",
    "Schema: {s}\n{t}",
    "Turn this into JSON with the schema {s}.\n{t}",
    "{t}\nReturn JSON: {s}",
    "Text: {t}\nJSON schema: {s}\nJSON:",
    "Fill in {s} with what this says: {t}",
    "Entry: {t}\nFields wanted: {s}",
    "Make JSON of the next line by {s}.\n{t}",
)
_SUBJECTS = (
    "The {o}",
    "This {o}",
    "A {o}",
    "Our {o}",
    "We saw a {o}",
    "There was a {o}",
    "{f} the {o}",
    "Here is the {o}",
    "{f}, a {o}",
)
_CLASSIFY = (
    "Classify the text as {l}.\nText: {t}",
    "Labels: {l}\n{t}",
    "Which label fits: {l}?\n{t}",
    "{t}\nIs this {l}?",
    "Pick one of {l} for: {t}",
    "Text: {t}\nLabels: {l}\nLabel:",
    "Choose the category of the message. Categories: {l}. Message: {t}",
    "{t}\n\nThe categories are {l}. Which one is it?",
    "Tags - {l}\nTag this: {t}",
    "Sentence: {t}\nTags: {l}",
    "Decide between {l}.\n{t}",
)
_LISTINGS = (
    ("{} ({})", ", "),
    ("{}: {}", "; "),
    ("{} = {}", "; "),
    ("{} ({})", " or "),
    ("\n- {}: {}", ""),
)
# Sentences about a keyword, as people write them.
_REMARKS = (
    "I bought a {k} today.",
    "My {k} is broken.",
    "Why is there no {k} here?",
    "The {k} came too late",
    "{K} is what I like most.",
    "{K}!",
    "We talked with them about a {k}.",
    "Is the {k} any good?",
    "She lost her {k} at work.",
    "This is a question about the {k}.",
    "{K}, please help me.",
    "Last week my friend had a {k} too.",
    "Everyone here wants one {k} or two.",
    "Could it be the {k}?",
    "There is a problem with {k}.",
    "He said that the {k} was not what he had asked for.",
)
_REMARK_SHARE = 0.5
_NEXT = ("{t}", "Next: {t}", "Text: {t}", "And this: {t}", "Another one.\n{t}")
_REPEAT = ("Repeat: {t}", "Say {t}", "Copy this: {t}", "Echo {t}", "{t}\nRepeat the text above.")


def _schema_text(rng: Random, fields: list[Parameter]) -> str:
    roll = rng.random()
    if roll < 0.55:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {field.name: field.schema for field in fields},
        }
        if rng.random() < 0.8:
            schema["required"] = [field.name for field in fields]
        return json.dumps(schema, ensure_ascii=False)
    types = {field.name: field.schema.get("type", "string") for field in fields}
    if roll < 0.8:
        return json.dumps(types)
    return ", ".join(f"{name} ({kind})" for name, kind in types.items())


def extraction(rng: Random) -> Example:
    """Records in sentences, to be written as JSON by a given schema."""
    thing = words.noun(rng)
    fields = make_parameters(rng, thing, rng.randint(1, 4), nested=rng.random() < 0.5)
    text, record = _record(rng, thing, fields)
    prompt = loosened(rng, rng.choice(_EXTRACT)).format(s=_schema_text(rng, fields), t=text)
    turns = [(prompt, record)]
    for _ in range(rng.randint(0, 6)):
        text, record = _record(rng, thing, [new_value(rng, field) for field in fields])
        turns.append((rng.choice(_NEXT).format(t=text), record))
    return _session(rng, "extraction", turns)


def _record(rng: Random, thing: str, fields: list[Parameter]) -> tuple[str, str]:
    """A sentence that states the fields' values, and them as JSON."""
    natural = rng.random() < 0.3
    kinds = [field.kind for field in fields]
    stated = [
        natural_clause(rng, field)
        if natural and kinds.count(field.kind) == 1 and not {"text", "word"} <= set(kinds)
        else clause(rng, field)
        for field in fields
    ]
    if rng.random() < 0.2:
        stated.append(clause(rng, make_parameters(rng, thing, 1, nested=False)[0]))
        fields_words = {word for field in fields for word in field.words.split()}
        if fields_words & set(stated[-1].split()):
            stated.pop()
    rng.shuffle(stated)
    subject = loosened(rng, rng.choice(_SUBJECTS)).format(o=thing, f=words.filler(rng))
    record = {field.name: field.value for field in fields}
    link = rng.choice((" ", " ", ", ", ": "))
    return f"{subject}{link}{join_clauses(rng, stated)}.", json.dumps(record, ensure_ascii=False)


def _session(rng: Random, task: str, turns: list[tuple[str, str]]) -> Example:
    """Questions and answers in a row, the last answer as the example's."""
    (first, answer), *others = turns
    messages = _maybe_system(rng, first)
    for question, following in others:
        messages += [{"role": "assistant", "content": answer}, user(question)]
        answer = following
    return Example(task, messages, {"role": "assistant", "content": answer})


def _maybe_system(rng: Random, prompt: str) -> list[dict[str, Any]]:
    """The prompt as one user message, or its first line as the system message."""
    head, _, rest = prompt.partition("\n")
    if rest.strip() and rng.random() < 0.3:
        return [{"role": "system", "content": head.strip()}, user(rest.strip())]
    return [user(prompt)]


def _sentence(rng: Random, keyword: str) -> str:
    """A sentence that holds the keyword: a remark, or any words."""
    if rng.random() < _REMARK_SHARE:
        remark = loosened(rng, rng.choice(_REMARKS))
        return words.begun(remark.format(k=keyword, K=words.begun(keyword)))
    before = [words.any_word(rng) for _ in range(rng.randint(0, 6))]
    after = [words.any_word(rng) for _ in range(rng.randint(0, 6))]
    text = " ".join([*before, keyword, *after])
    return words.begun(text) + "."


def classification(rng: Random) -> Example:
    """Texts hold a label's word, or one of the words that the prompt lists for a label."""
    labels = list(dict.fromkeys(words.noun(rng) for _ in range(rng.randint(2, 5))))
    rng.shuffle(labels)
    upper = rng.random() < 0.2
    shown = {label: label.capitalize() if upper else label for label in labels}
    if rng.random() < 0.3:
        listing = rng.choice((", ", " / ", " or ")).join(shown[label] for label in labels)
        keywords = {label: [label] for label in labels}
    else:
        keywords = {label: _keywords(rng) for label in labels}
        style, joint = rng.choice(_LISTINGS)
        listing = joint.join(
            style.format(shown[label], ", ".join(keywords[label])) for label in labels
        )
    turns = []
    for number in range(rng.randint(1, 9)):
        target = rng.choice(labels)
        text = _sentence(rng, rng.choice(keywords[target]))
        prompt = loosened(rng, rng.choice(_NEXT if number else _CLASSIFY)).format(l=listing, t=text)
        turns.append((prompt, shown[target]))
    return _session(rng, "classification", turns)


def _keywords(rng: Random) -> list[str]:
    return [words.any_word(rng) for _ in range(rng.randint(1, 3))]


def repeating(rng: Random) -> Example:
    """Repeat texts: the first thing a small model must learn."""
    makes = (
        words.phrase, words.person, words.choice_code, words.email, words.pseudo_word, words.date,
    )  # fmt: skip
    turns = []
    for _ in range(rng.randint(1, 4)):
        make = rng.choice(makes)
        text = rng.choice((", ", " ", "; ")).join(make(rng) for _ in range(rng.randint(1, 5)))
        turns.append((rng.choice(_REPEAT).format(t=text), text))
    return _session(rng, "copying", turns)


def lookup(rng: Random) -> Example:
    """Look keys up in a list of pairs."""
    makes = (words.phrase, words.person, words.place, words.integer, words.date, words.choice_code)
    count = rng.randint(2, 6)
    pairs = {words.any_word(rng): rng.choice(makes)(rng) for _ in range(count)}
    listing = (
        json.dumps(pairs)
        if rng.random() < 0.4
        else rng.choice((", ", "\n", "; ")).join(f"{k} {v}" for k, v in pairs.items())
    )
    turns = []
    for key in rng.sample(list(pairs), rng.randint(1, len(pairs))):
        question = rng.choice(("{k}?", "What is {k}?", "Value of {k}")).format(k=key)
        turns.append((question, str(pairs[key])))
    turns[0] = (f"{listing}\n{turns[0][0]}", turns[0][1])
    return _session(rng, "copying", turns)
