"""Short training chats: greetings, facts stated earlier, formats set by the system prompt.

Owns: their sentences. Must not know: the held-out templates, tokens.
"""

from random import Random

from engine.demo_model.training import words
from engine.demo_model.training.examples import Example, user

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
)


def _reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _greeting(rng: Random) -> Example:
    roll = rng.random()
    if roll < 0.6:
        text, answer = rng.choice(_HELLO) + rng.choice(_TAILS), "Hello! How can I help you?"
        if rng.random() < 0.3:
            text = f"{rng.choice(_HELLO)}, I am {words.person(rng).split()[0]}."
            answer = f"Hello {text.split()[-1][:-1]}! How can I help you?"
    elif roll < 0.75:
        text, answer = rng.choice(("Thanks!", "Thank you.", "Thanks a lot")), "You are welcome!"
    elif roll < 0.85:
        text, answer = rng.choice(("Bye", "Goodbye!", "See you later.")), "Goodbye!"
    else:
        text = rng.choice(("Who are you?", "What are you?", "What can you do?"))
        answer = "I am a small demo model. I call tools, fill JSON, pick labels and add numbers."
    return Example("chat", [user(text)], _reply(answer))


def _fact(rng: Random) -> Example:
    count = rng.randint(1, 3)
    keys = list(dict.fromkeys(words.field(rng) for _ in range(count)))
    makes = (words.person, words.place, words.any_word, words.integer, words.phrase, words.date)
    facts = {key: str(rng.choice(makes)(rng)) for key in keys}
    messages = []
    stated = [
        rng.choice(_FACTS).format(k=k, v=v, f=words.filler(rng).capitalize())
        for k, v in facts.items()
    ]
    if rng.random() < 0.5:
        for sentence in stated:
            messages += [user(sentence), _reply("I will remember that.")]
    else:
        messages += [user(" ".join(stated)), _reply("I will remember that.")]
    for key in rng.sample(keys, rng.randint(1, len(keys))):
        messages.append(user(rng.choice(_QUESTIONS).format(k=key)))
        messages.append(_reply(f"Your {key} is {facts[key]}."))
    return Example("chat", messages[:-1], messages[-1])


def _noted(rng: Random) -> Example:
    key, value = words.field(rng), words.phrase(rng)
    text = rng.choice(_FACTS).format(k=key, v=value, f=words.filler(rng).capitalize())
    return Example("chat", [user(text)], _reply("I will remember that."))


def _formatted(rng: Random) -> Example:
    name, mark = words.person(rng).split()[0], words.any_word(rng)
    key, value = words.field(rng), words.any_word(rng)
    plain = value
    question = f"{rng.choice(_FACTS[:1]).format(k=key, v=value, f='')} What is my {key}?"
    roll = rng.randrange(4)
    if roll == 0:
        rule = rng.choice(("Start every answer with {m}.", "Begin each reply with {m}."))
        answer = f"{mark} {plain}"
    elif roll == 1:
        rule = rng.choice(("End every answer with {m}.", "Finish each reply with {m}."))
        answer = f"{plain} {mark}"
    elif roll == 2:
        rule = rng.choice(("Reply as JSON with the key {m}.", "Answer in JSON, key {m}."))
        answer = f'{{"{mark}": "{plain}"}}'
    else:
        rule = rng.choice(("Your name is {n}.", "You are {n}."))
        question = rng.choice(("What is your name?", "Who are you?", "Your name?"))
        answer = f"My name is {name}."
    system = {"role": "system", "content": rule.format(m=mark, n=name)}
    return Example("chat", [system, user(question)], _reply(answer))


def chat(rng: Random) -> Example:
    """One of the kinds of short chat."""
    kinds = (_greeting, _fact, _noted, _formatted)
    return rng.choices(kinds, (2, 5, 1, 4))[0](rng)
