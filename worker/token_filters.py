"""What `allowed_token_ids` and `bad_words` ask for, as filters of tokens.

Owns: the tokens of words, and the checks that need the vocabulary. Must not know: grammars,
prompts. As in vLLM, a word is spelled by its own tokens or by those it has behind a space, and of a
word of several tokens only the last is banned, behind the others.
"""

from collections.abc import Callable
from dataclasses import dataclass

from engine.request import TokenConstraint
from engine.token_filter import TokenFilter, token_mask
from engine.tokenizer import Tokenizer
from schemas.errors import ApiError
from schemas.sampling_fields import SamplingFields
from worker.sampling import check_token_ids

__all__ = ["FilterMaker"]

NewConstraint = Callable[[], TokenConstraint]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterMaker:
    """Makes filters for one model. `num_tokens` is the width of its masks."""

    tokenizer: Tokenizer
    vocab_size: int
    num_tokens: int

    def wrap(self, fields: SamplingFields, inner: NewConstraint | None) -> NewConstraint | None:
        """What makes the constraint of each choice: `inner`'s, filtered as the request says.

        Raises ApiError 400 for token ids outside the vocabulary.
        """
        allowed_ids = fields.allowed_token_ids
        words = self._words(fields.bad_words or ())
        if allowed_ids is None and not words:
            return inner
        num_words = -(-self.num_tokens // 32)
        allowed = None
        if allowed_ids is not None:
            check_token_ids("allowed_token_ids", allowed_ids, self.vocab_size)
            allowed = token_mask(allowed_ids, num_words)
        return lambda: TokenFilter(
            num_words=num_words,
            allowed=allowed,
            words=words,
            inner=inner() if inner is not None else None,
        )

    def _words(self, texts: list[str] | tuple[()]) -> list[tuple[int, ...]]:
        found: dict[tuple[int, ...], None] = {}
        for text in texts:
            bare = text.lstrip() or text
            spellings = [
                tuple(self.tokenizer.encode_text(prefix + bare, add_special_tokens=False))
                for prefix in ("", " ")
            ]
            if not any(spellings):
                raise ApiError(
                    400,
                    f"Invalid 'bad_words': {text!r} has no tokens.",
                    param="bad_words",
                    code="invalid_value",
                )
            found.update(dict.fromkeys(filter(None, spellings)))
        return list(found)
