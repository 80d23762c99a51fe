"""Short training chats: greetings, facts stated earlier, formats set by the system prompt.

Owns: their sentences. Must not know: the held-out templates, tokens.
"""

from dataclasses import replace
from random import Random

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, user
from engine.demo_model.training.phrases import loosened

__all__ = ["chat"]

_HELLO = (
    "Hello",
    "Hi",
    "Hey",
    "Hi there",
    "Hello there",
    "Good morning",
    "Good evening",
    "Hey you",
)
_TAILS = ("", "!", ".", ", how are you?", "! How are you?", "!", "")
_FACTS = (
    "My {k} is {v}.",
    "Note that my {k} is {v}.",
    "{f}, my {k} is {v}.",
    "Remember: the {k} is {v}.",
    "The {k} is {v}.",
    "{k}: {v}",
    "Please remember my {k}: {v}.",
)
_QUESTIONS = (
    "What is my {k}?",
    "What was the {k}?",
    "Do you know my {k}?",
    "Tell me my {k}.",
    "And my {k}?",
    "Which {k} did I give?",
    "I forgot my {k}, what is it?",
    "{f}, what {k} did I mention?",
    "Say my {k} now.",
)
# An opening or a closing word: verb, what of, mark; or the mark first.
_START_VERBS = ("Start", "Begin", "Open", "Lead off")
_FINISH_VERBS = ("End", "Finish", "Close", "Conclude")
_REPLIES = (
    "every answer", "each reply", "your answers", "all replies", "any message", "what you say",
    "each of your messages", "whatever you answer", "all that you write",
)  # fmt: skip
_VERB_RULES = ("{r} {o} with {m}.", "{r} {o} by {m}.", "With {m} you {r} {o}.", "{r} with {m} {o}.")
_STARTS = (
    "{m} comes first in {o}.",
    "Put {m} in front of {o}.",
    "{m} goes before {o}.",
)
_FINISHES = (
    "{m} comes last in {o}.",
    "Put {m} behind {o}.",
    "{m} goes after {o}.",
)
_OBJECTS = (
    "Reply as JSON with the key {m}.",
    "Answer in JSON, key {m}.",
    "JSON only, with {m} as the key.",
    "Use JSON and its one key {m} for answers.",
    "{f} JSON {f} the key {m}.",
    "{f} JSON with key {m}.",
    "JSON {f} key {m}.",
)
# System prompts that ask for nothing these answers could show.
_PERSONAS = (
    "You help with {f}.",
    "You answer for {p}.",
    "You work at {p}, {f}.",
    "You are polite and {f}.",
    "Answer briefly.",
    "{f} {p}. Be kind.",
)
_PERSONA_SHARE = 0.35
_NOTED = "I will remember that."
# What was answered to a fact earlier; the first is the answer to learn.
_ACKNOWLEDGED = (_NOTED, _NOTED, _NOTED, _NOTED, _NOTED, "OK.", "Understood.", "I see.", "Right.")


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _system(text: str) -> dict[str, str]:
    return {"role": "system", "content": words.begun(text)}


def _greeting(rng: Random) -> Example:
    roll = rng.random()
    if roll < 0.6:
        text, answer = rng.choice(_HELLO) + rng.choice(_TAILS), "Hello! How can I help you?"
        if rng.random() < 0.3:
            text = f"{rng.choice(_HELLO)}, I am {words.person(rng).split()[0]}."
            answer = f"Hello {text.split()[-1][:-1]}! How can I help you?"
        elif rng.random() < 0.5:  # a word alone greets, whatever it is
            word = words.pseudo_word(rng)
            text = rng.choice((word.capitalize(), word, f"Good {word}")) + rng.choice(_TAILS)
    elif roll < 0.75:
        text, answer = rng.choice(("Thanks!", "Thank you.", "Thanks a lot")), "You are welcome!"
    elif roll < 0.85:
        text, answer = rng.choice(("Bye", "Goodbye!", "See you later.")), "Goodbye!"
    else:
        text = rng.choice(("Who are you?", "What are you?", "What can you do?"))
        answer = "I am a small demo model. I call tools, fill JSON, pick labels and add numbers."
    return Example("chat", [user(text)], _reply(answer))


def _stated(rng: Random, key: str, value: str) -> str:
    """A sentence with a fact; nothing between its key and its value is random."""
    before, slot, behind = rng.choice(_FACTS).partition("{k}")
    text = (loosened(rng, before) + slot + behind).format(k=key, v=value, f=words.filler(rng))
    return words.begun(text)


def _question(rng: Random, key: str) -> str:
    text = loosened(rng, rng.choice(_QUESTIONS)).format(k=key, f=words.filler(rng))
    return words.begun(text)


def _fact(rng: Random) -> Example:
    count = rng.randint(1, 3)
    keys = list(dict.fromkeys(words.field(rng) for _ in range(count)))
    makes = (words.person, words.place, words.any_word, words.integer, words.phrase, words.date)
    facts = {key: str(rng.choice(makes)(rng)) for key in keys}
    messages = []
    stated = [_stated(rng, k, v) for k, v in facts.items()]
    if rng.random() < 0.3:
        asked = rng.choice(keys)
        text = f"{' '.join(stated)} {_question(rng, asked)}"
        return Example("chat", [user(text)], _reply(f"Your {asked} is {facts[asked]}."))
    if rng.random() < 0.5:
        for sentence in stated:
            messages += [user(sentence), _acknowledged(rng)]
    else:
        messages += [user(" ".join(stated)), _acknowledged(rng)]
    for key in rng.sample(keys, rng.randint(1, len(keys))):
        messages.append(user(_question(rng, key)))
        messages.append(_reply(f"Your {key} is {facts[key]}."))
    return Example("chat", messages[:-1], messages[-1])


def _acknowledged(rng: Random) -> dict[str, str]:
    text = rng.choice(_ACKNOWLEDGED)
    return _reply(words.any_word(rng).capitalize() + "." if rng.random() < 0.15 else text)


def _noted(rng: Random) -> Example:
    key, value = words.field(rng), words.phrase(rng)
    text = _stated(rng, key, value)
    return Example("chat", [user(text)], _reply(_NOTED))


def _formatted(rng: Random) -> Example:
    name, mark = words.person(rng).split()[0], words.any_word(rng)
    key = words.field(rng)
    value = rng.choice((words.any_word, words.person, words.place, words.phrase))(rng)
    question = f"{_stated(rng, key, value)} {_question(rng, key)}"
    roll = rng.randrange(4)
    if roll == 0:
        rule = _place_rule(rng, _START_VERBS, _STARTS)
        answer = f"{mark} {value}"
    elif roll == 1:
        rule = _place_rule(rng, _FINISH_VERBS, _FINISHES)
        answer = f"{value} {mark}"
    elif roll == 2:
        rule = rng.choice(_OBJECTS)
        answer = f'{{"{mark}": "{value}"}}'
    else:
        rule = rng.choice(("Your name is {n}.", "You are {n}."))
        question = rng.choice(("What is your name?", "Who are you?", "Your name?"))
        answer = f"My name is {name}."
    system = _system(rule.format(m=mark, n=name, f=words.filler(rng)))
    return Example("chat", [system, user(question)], _reply(answer))


def _place_rule(rng: Random, verbs: tuple[str, ...], others: tuple[str, ...]) -> str:
    """Where the mark goes, with the slot for it left open."""
    template = rng.choice(_VERB_RULES if rng.random() < 0.7 else others)
    verb = rng.choice(verbs)
    parts = {"r": verb if template.startswith("{r}") else verb.lower(), "o": rng.choice(_REPLIES)}
    return template.format(m="{m}", **parts)


def chat(rng: Random) -> Example:
    """One of the kinds of short chat."""
    make = rng.choices((_greeting, _fact, _noted, _formatted), (2, 5, 1, 4))[0]
    example = make(rng)
    if make is _formatted or rng.random() >= _PERSONA_SHARE:
        return example
    system = _system(rng.choice(_PERSONAS).format(f=words.filler(rng), p=words.place(rng)))
    return replace(example, messages=[system, *example.messages])
