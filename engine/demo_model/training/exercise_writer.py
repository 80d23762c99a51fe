"""What exercises are written with.

Owns: the tokens so far and which of them are learnt, the turn to the answer. Must not know: which
exercises there are.
"""

from collections.abc import Callable, Sequence

__all__ = ["ASKED", "Encode", "Writer"]

Encode = Callable[[str], Sequence[int]]

ASKED = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""Between a question and its answer, as the chat template writes it."""


class Writer:
    """Tokens of one exercise and which of them are learnt."""

    def __init__(self, encode: Encode, most_fillers: int) -> None:
        self.most_fillers = most_fillers
        self.tokens: list[int] = []
        self.learnt: list[bool] = []
        self._encode = encode

    def add(self, part: Sequence[int] | str, *, learnt: bool = False) -> None:
        """Append tokens, or the tokens of a text."""
        tokens = self._encode(part) if isinstance(part, str) else part
        self.tokens += tokens
        self.learnt += [learnt] * len(tokens)

    def encoded(self, text: str) -> Sequence[int]:
        """The tokens of a text."""
        return self._encode(text)

    def joined(self, tokens: Sequence[int], joint: str) -> list[int]:
        """The tokens with `joint` between them."""
        made = list(tokens[:1])
        for token in tokens[1:]:
            made += [*self._encode(joint), token]
        return made
