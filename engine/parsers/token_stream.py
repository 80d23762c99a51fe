"""Output tokens to text in pieces, with guarded markers.

Owns: what of the text is settled while tokens come in. Must not know: families, requests. The same
text as `OutputReader.read` gives for all tokens at once, but for characters of the text that are
guards, which are doubled. Follows the two-offset scheme of
engine/detokenizer.py: a window of tokens is decoded again with each new one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.parsers.output import GUARD, OutputReader
from engine.tokenizer import Tokenizer

__all__ = ["TokenStream"]

_REPLACEMENT = "\ufffd"  # bytes that form no character, yet
_MAX_PENDING = 96  # tokens without a whole character, after which they are taken for noise


@dataclass(slots=True)
class TokenStream:
    """One output. `is_guarded`: its text is for an `AnswerStream`. Not thread safe."""

    tokenizer: Tokenizer
    reader: OutputReader
    skip_special_tokens: bool = True
    is_guarded: bool = True
    _token_ids: list[int] = field(default_factory=list)
    _context: int = 0  # tokens [context, read) decode to what is out already
    _read: int = 0
    _plain: str = ""  # text behind the last marker whose end may begin a written one

    def feed(self, token_ids: Iterable[int]) -> str:
        """Take the next tokens; return the text that they settle."""
        return "".join(self._feed_one(token_id) for token_id in token_ids)

    def finish(self) -> str:
        """The text that was held back."""
        self._plain += self._new_text()
        self._read = len(self._token_ids)
        return self._release(everything=True)

    def _feed_one(self, token_id: int) -> str:
        if not self.reader.keeps(token_id, skip_special_tokens=self.skip_special_tokens):
            return ""
        marker = self.reader.marker(token_id)
        if marker is not None:
            before = self.finish()
            self._token_ids.append(token_id)
            text = self._new_text()
            self._settle()
            return before + text
        self._token_ids.append(token_id)
        text = self._new_text()
        is_broken = text.endswith(_REPLACEMENT) or not text
        if is_broken and len(self._token_ids) - self._read < _MAX_PENDING:
            return ""
        self._settle()
        self._plain += text
        return self._release(everything=False)

    def _release(self, *, everything: bool) -> str:
        """Guard what is written out in full; hold back what may become a marker."""
        held = 0 if everything else self.reader.num_undecided(self._plain)
        cut = len(self._plain) - held
        text = self._plain[:cut]
        self._plain = self._plain[cut:]
        return (
            self.reader.guarded(text.replace(GUARD, 2 * GUARD), GUARD) if self.is_guarded else text
        )

    def _new_text(self) -> str:
        known = self._decode(self._context, self._read)
        return self._decode(self._context, len(self._token_ids))[len(known) :]

    def _settle(self) -> None:
        self._context, self._read = self._read, len(self._token_ids)

    def _decode(self, start: int, stop: int) -> str:
        return self.tokenizer.decode(self._token_ids[start:stop], skip_special_tokens=False)
