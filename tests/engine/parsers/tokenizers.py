"""Tiny tokenizers that have markers as tokens, and what they make of texts."""

from typing import Any

from tokenizers import AddedToken

from engine.tokenizer import Tokenizer
from tests.engine.tiny_tokenizers import tiny_tokenizer

__all__ = ["MARKERS", "marked_ids", "marked_tokenizer", "spelled_ids"]

MARKERS = ("<tool_call>", "</tool_call>", "</think>")  # and <think>, which is there already


def marked_tokenizer(kind: str = "byte_level", *, special: bool = False) -> Tokenizer:
    inner: Any = tiny_tokenizer(kind)
    tokens = [AddedToken(marker, special=special, normalized=False) for marker in MARKERS]
    inner.add_tokens(tokens, special_tokens=special)
    return Tokenizer(inner)


def marked_ids(tokenizer: Tokenizer, *pieces: str) -> list[int]:
    """The tokens of an output: a piece that is a marker as its token, others as text."""
    ids: list[int] = []
    for piece in pieces:
        if piece in tokenizer.added_token_ids:
            ids.append(tokenizer.added_token_ids[piece])
        else:
            ids += spelled_ids(tokenizer, piece)
    return ids


def spelled_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text letter by letter, so that no marker in it becomes a token."""
    inner: Any = tokenizer.hf_tokenizer
    known: dict[str, int] = inner.get_vocab()
    ids: list[int] = []
    for letter in text:
        names = ["\u2581", "\u0120"] if letter == " " else [letter] if letter.isascii() else []
        own = next((known[name] for name in names if name in known), None)
        ids += [own] if own is not None else inner.encode(letter, add_special_tokens=False)
    return ids
