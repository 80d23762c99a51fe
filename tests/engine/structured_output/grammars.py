"""A tokenizer with all bytes, some words and the markers of several families, and what a grammar
allows with it."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import PreTrainedTokenizerFast

from engine.structured_output.factory import ConstraintFactory
from engine.structured_output.limits import GrammarLimits
from engine.tokenizer import Tokenizer

__all__ = [
    "EOS",
    "VOCAB_SIZE",
    "allowed",
    "bits",
    "byte_tokenizer",
    "factory",
    "family_factory",
    "feed",
    "ids",
    "new_factory",
]

EOS = 0
VOCAB_SIZE = 400
_MARKERS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "<|python_tag|>",
]
_WORDS = ["name", "arguments", "yes", "no", "ab", "true", "Ġa"]


@cache
def byte_tokenizer(
    markers: tuple[str, ...] = tuple(_MARKERS), *, add_prefix_space: bool = False
) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab: dict[str, int] = {"<eos>": EOS}
    merges: list[tuple[str, str]] = []
    for character in alphabet:
        vocab[character] = len(vocab)
    for word in _WORDS:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocab:
                vocab[word[:end]] = len(vocab)
                merges.append((word[: end - 1], word[end - 1]))
    fast = FastTokenizer(models.BPE(vocab, merges))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=add_prefix_space, use_regex=False
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken("<eos>", special=True)])
    fast.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in markers])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<eos>"))


@cache
def factory() -> ConstraintFactory:
    return new_factory()


@cache
def family_factory(markers: tuple[str, ...]) -> ConstraintFactory:
    """For a model whose tokenizer has these markers as tokens, and no others."""
    return ConstraintFactory(
        byte_tokenizer(markers), vocab_size=VOCAB_SIZE, eos_token_ids=frozenset({EOS})
    )


def new_factory(limits: GrammarLimits | None = None) -> ConstraintFactory:
    settings: dict[str, Any] = {} if limits is None else {"limits": limits}
    return ConstraintFactory(
        byte_tokenizer(), vocab_size=VOCAB_SIZE, eos_token_ids=frozenset({EOS}), **settings
    )


def ids(text: str) -> list[int]:
    return byte_tokenizer().encode_prompt(text)


def bits(row: npt.NDArray[np.int32]) -> set[int]:
    return set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())


def allowed(constraint: Any, banned: tuple[int, ...] = ()) -> set[int] | None:
    """The tokens that may come next; None for any."""
    row = np.zeros(constraint.num_words, np.int32)
    return bits(row) if constraint.fill(row, banned) else None


def feed(constraint: Any, text: str) -> bool:
    """Take the tokens of a text, each of which must be allowed; whether it is complete then."""
    is_complete = False
    for token_id in ids(text):
        now = allowed(constraint)
        assert now is None or token_id in now, f"{text!r}: {token_id} is not allowed"
        is_complete = constraint.append(token_id)
        assert constraint.error is None
    return is_complete
