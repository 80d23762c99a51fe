"""Held-out rows without tools: extraction, classification, arithmetic, short chat.

Owns: their sentences and answers. Must not know: training.
Arithmetic uses pairs of two-digit numbers that training leaves out (`_kept_back`), apart from
products, whose table is small and must be learnt by heart.
"""

import json
from random import Random
from typing import Any

from jobs.evals.demo import vocabulary as words
from jobs.evals.demo.values import clause, joined, make_fields, title

__all__ = ["arithmetic", "chat", "classification", "extraction"]

Pair = tuple[dict[str, Any], dict[str, Any]]

_EXTRACTIONS = (
    "Below is a schema, then a passage. Answer with one JSON object.\n{s}\nPassage: {t}",
    "Passage: {t}\nWrite it down as JSON following {s}",
    "Use the schema {s} to record this passage as JSON.\n{t}",
    "Record: {t}\nTarget schema: {s}\nOutput JSON only.",
)
_RECORDS = (
    "Yesterday's {n} was filed",
    "Our {n} arrived",
    "A certain {n} was described",
    "The clerk noted one {n}",
)
_SORTING = (
    "Assign one topic out of {l}.\nMessage: {t}",
    "Message: {t}\nPossible topics: {l}\nTopic:",
    "Sort the following note into one of these bins - {l}.\n{t}",
    "{t}\nWhich bin does the note above belong to? Bins: {l}",
)
_NOTES = (
    "The committee talked about the {k} for hours.",
    "I am worried about my {k}, to be honest.",
    "Nobody expected the {k} to arrive.",
    "Our neighbour showed us his {k}.",
    "{K} again and again!",
    "They ordered a {k} and left.",
)
_SUMS = {
    "+": (
        "Work out {a} + {b}.",
        "{a} + {b} equals what?",
        "Sum up {a} and {b}",
        "Result of {a} + {b}",
    ),
    "-": ("Work out {a} - {b}.", "{a} - {b} equals what?", "Result of {a} - {b}", "{a} less {b}?"),
    "*": (
        "Work out {a} * {b}.",
        "{a} * {b} equals what?",
        "Result of {a} * {b}",
        "{a} x {b}, please",
    ),
}
_HINTS = (
    "For the record, my {k} is {v}.",
    "You should know that my {k} is {v}.",
    "Just so you know, the {k} is {v}.",
)
_RECALLS = (
    "Can you recall my {k}?",
    "So, what was my {k} again?",
    "Earlier I gave you my {k}. What is it?",
)
_RULES = (
    ("Open all your answers with {m}.", "{m} {v}"),
    ("Close all your answers with {m}.", "{v} {m}"),
    ("Always write JSON holding the key {m}.", '{{"{m}": "{v}"}}'),
)
_WELCOMES = ("Howdy", "Greetings!", "Good afternoon!", "Hiya")


def _user(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _says(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def extraction(rng: Random) -> Pair:
    """A record in a sentence and the schema to write it by."""
    thing = rng.choice(words.NOUNS)
    fields = make_fields(rng, thing, rng.randint(1, 4))
    schema = {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
        "required": [field.name for field in fields],
    }
    opening = rng.choice(_RECORDS).format(n=thing)
    passage = f"{opening}, {joined(rng, [clause(rng, field) for field in fields])}."
    prompt = rng.choice(_EXTRACTIONS).format(s=json.dumps(schema), t=passage)
    record = {field.name: field.value for field in fields}
    return _user(prompt), _says(json.dumps(record, ensure_ascii=False))


def classification(rng: Random) -> Pair:
    """A note that holds a word which the prompt lists for one of the labels, or the label."""
    labels = rng.sample(words.NOUNS, rng.randint(2, 5))
    target = rng.choice(labels)
    if rng.random() < 0.3:
        listing, keyword = " / ".join(labels), target
    else:
        pool = [w for w in words.TITLE_WORDS + words.ADJECTIVES if w not in labels]
        rng.shuffle(pool)
        keywords = {label: [pool.pop(), pool.pop()] for label in labels}
        listing = ", ".join(f"{label} ({', '.join(keywords[label])})" for label in labels)
        keyword = rng.choice(keywords[target])
    note = rng.choice(_NOTES).format(k=keyword, K=keyword.capitalize())
    return _user(rng.choice(_SORTING).format(l=listing, t=note)), _says(target)


def _kept_back(left: int, right: int) -> bool:
    return left >= 10 and right >= 10 and (left * 31 + right * 17) % 8 == 3


def arithmetic(rng: Random) -> Pair:
    """A sum or difference of two-digit numbers, or a small product."""
    operator = rng.choice("++--*")
    left, right = rng.randint(2, 9), rng.randint(2, 9)
    while operator != "*" and not _kept_back(left, right):
        left, right = rng.randint(10, 99), rng.randint(10, 99)
        if operator == "-" and left < right:
            left, right = right, left
    result = {"+": left + right, "-": left - right, "*": left * right}[operator]
    return _user(rng.choice(_SUMS[operator]).format(a=left, b=right)), _says(str(result))


def chat(rng: Random) -> Pair:
    """A greeting, a fact recalled, or a format that the system prompt asks for."""
    roll = rng.random()
    if roll < 0.2:
        return _user(rng.choice(_WELCOMES)), _says("Hello! How can I help you?")
    kind = rng.choice(("text", "person", "place"))
    key = rng.choice(words.FIELDS[kind]).replace("_", " ")
    values = {"text": title(rng), "person": rng.choice(words.FIRST_NAMES)}
    value = values.get(kind, rng.choice(words.PLACES))
    hint = rng.choice(_HINTS).format(k=key, v=value)
    question = rng.choice(_RECALLS).format(k=key)
    if roll < 0.6:
        turns = [
            {"role": "user", "content": hint},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": question},
        ]
        return {"messages": turns}, _says(f"Your {key} is {value}.")
    rule, answer = rng.choice(_RULES)
    mark = rng.choice(words.TITLE_WORDS)
    system = {"role": "system", "content": rule.format(m=mark)}
    body = {"messages": [system, {"role": "user", "content": f"{hint} {question}"}]}
    return body, _says(answer.format(m=mark, v=value))
