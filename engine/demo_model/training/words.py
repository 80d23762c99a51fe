"""Random words and values for the training data, made so that copying beats memorising.

Owns: pseudo words, proper names, dates, codes, numbers as text. Must not know: tools, templates.
"""

from random import Random

from engine.demo_model.training.vocabulary import (
    ACTIONS,
    ADJECTIVES,
    CITIES,
    CODAS,
    DOMAINS,
    FIELDS,
    FIRST_NAMES,
    LAST_NAMES,
    NOUNS,
    ONSETS,
    PLAIN_WORDS,
    VOWELS,
)

__all__ = [
    "action",
    "adjective",
    "any_word",
    "begun",
    "choice_code",
    "clock",
    "date",
    "decimal",
    "email",
    "field",
    "filler",
    "integer",
    "noun",
    "person",
    "phrase",
    "place",
    "plain",
    "pseudo_word",
    "url",
]


def pseudo_word(rng: Random, syllables: int = 0) -> str:
    """A word that no list contains: syllables, ends of two real words, or plain letters.

    Words of syllables alone use few tokens; a model trained on them copies those and no others.
    """
    roll = rng.random()
    if roll < 0.6:
        head, tail = (rng.choice(rng.choice(_REAL)) for _ in range(2))
        middle = rng.choice("jkqvwxz")  # so that the two ends are not a real word by chance
        return head[: rng.randint(2, 5)] + middle + tail[-rng.randint(2, 5) :]
    if roll < 0.75:
        return "".join(rng.choices(_LETTERS, k=rng.randint(3, 8)))
    count = syllables or rng.choice((1, 2, 2, 2, 3))
    parts = (rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(count))
    return "".join(parts)


_REAL = (ACTIONS, NOUNS, NOUNS, ADJECTIVES, PLAIN_WORDS, FIELDS)
# As often as in English, roughly.
_LETTERS = "eeeeeeetttttaaaaooooiiiinnnnssshhhrrrddlllccuummwffggyppbbvkjxqz"


def _mixed(rng: Random, curated: tuple[str, ...], made_up: float) -> str:
    return pseudo_word(rng) if rng.random() < made_up else rng.choice(curated)


def begun(text: str) -> str:
    """The text as a sentence begins: a capital first, the rest as it is."""
    return text[0].upper() + text[1:]


def action(rng: Random) -> str:
    """A verb for a tool name."""
    return _mixed(rng, ACTIONS, 0.6)


def noun(rng: Random) -> str:
    """A thing a tool is about."""
    return _mixed(rng, NOUNS, 0.6)


def adjective(rng: Random) -> str:
    """A word in front of a noun."""
    return _mixed(rng, ADJECTIVES, 0.5)


def field(rng: Random) -> str:
    """A parameter's base name."""
    return rng.choice(FIELDS) if rng.random() < 0.35 else noun(rng)


def any_word(rng: Random) -> str:
    """Any lower-case word."""
    roll = rng.random()
    if roll < 0.6:
        return pseudo_word(rng)
    return rng.choice(rng.choice((NOUNS, ADJECTIVES, ACTIONS, PLAIN_WORDS)))


def plain(rng: Random) -> str:
    """A common word that belongs to no task."""
    return rng.choice(PLAIN_WORDS)


def filler(rng: Random) -> str:
    """One to three words that mean nothing for the task."""
    words = PLAIN_WORDS if rng.random() < 0.7 else NOUNS
    return " ".join(
        pseudo_word(rng) if rng.random() < 0.25 else rng.choice(words)
        for _ in range(rng.randint(1, 3))
    )


def person(rng: Random) -> str:
    """A first name, or first and last."""
    made_up = rng.random() < 0.6
    first = pseudo_word(rng, 2).capitalize() if made_up else rng.choice(FIRST_NAMES)
    if rng.random() < 0.5:
        return first
    last = pseudo_word(rng).capitalize() if rng.random() < 0.6 else rng.choice(LAST_NAMES)
    return f"{first} {last}"


def place(rng: Random) -> str:
    """A town, sometimes of two words."""
    if rng.random() < 0.35:
        return rng.choice(CITIES)
    name = pseudo_word(rng, rng.randint(1, 3)).capitalize()
    if rng.random() < 0.2:
        return rng.choice(("New", "San", "Port", "Lake", "El", "Saint")) + " " + name
    return name + " City" if rng.random() < 0.05 else name


def phrase(rng: Random) -> str:
    """A title or short free text of one to four words."""
    words = [any_word(rng) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))]
    style = rng.random()
    if style < 0.4:
        return " ".join(word.capitalize() for word in words)
    text = " ".join(words)
    return text.capitalize() if style < 0.6 else text


def date(rng: Random) -> str:
    """An ISO date."""
    return f"{rng.randint(1980, 2039)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def clock(rng: Random) -> str:
    """A time of day."""
    return f"{rng.randint(0, 23):02d}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50)):02d}"


def email(rng: Random) -> str:
    """An address."""
    name = person(rng).lower().replace(" ", rng.choice((".", "_")))
    host = rng.choice(DOMAINS) if rng.random() < 0.5 else pseudo_word(rng) + ".com"
    return f"{name}@{host}"


def url(rng: Random) -> str:
    """A web address."""
    return f"https://{pseudo_word(rng)}.{rng.choice(('com', 'org', 'net', 'io'))}/{any_word(rng)}"


def choice_code(rng: Random) -> str:
    """An identifier such as AB-1234."""
    letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(2, 5)))
    return letters + rng.choice(("-", "", "_", "-")) + digits


def integer(rng: Random) -> int:
    """A count, an amount or a year."""
    return rng.randint(1, rng.choice((9, 20, 99, 999, 9999)))


def decimal(rng: Random) -> float:
    """A number with one or two decimals, never a whole one."""
    value = rng.randint(1, rng.choice((99, 9999, 99999))) / rng.choice((10, 100))
    return value + 0.5 if value == int(value) else round(value, 2)
