"""Text to tokens and back.

Owns: the checkpoint's tokenizer. Must not know: messages, templates' meaning, requests. Prompts are
rendered by a template, which writes the special tokens itself, so none are added here. A special
token that the caller's text contains is encoded as the text it is, see `engine.control_tokens`.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer
from transformers import AutoTokenizer

from engine.control_tokens import ControlTokens, MarkedText
from engine.errors import ModelRefusedError
from engine.token_text import TokenTexts

__all__ = ["Tokenizer", "load_tokenizer"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "tekken.json", "*.model", "*.tiktoken")
_REPLACEMENT = "\ufffd"


def load_tokenizer(folder: Path, name: str) -> "Tokenizer":
    """The tokenizer of the checkpoint in `folder`. Raises ModelRefusedError if there is none."""
    try:
        loaded = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        # tokenizers' Rust errors are plain Exceptions, so nothing narrower catches a damaged file.
        raise ModelRefusedError(
            f"cannot run {name}: its tokenizer does not load: {_reason(folder, error)}"
        ) from error
    return Tokenizer(loaded)


def _reason(folder: Path, error: Exception) -> str:
    """Why a tokenizer does not load. What transformers says of missing files and packages is a list
    of ways in which it tried, or names the package of the last one.
    """
    if not any(any(folder.glob(pattern)) for pattern in _TOKENIZER_FILES):
        return f"{folder} has no tokenizer.json"
    has_model = any(folder.glob("*.model")) and not (folder / "tokenizer.json").exists()
    if has_model and find_spec("sentencepiece") is None:
        return (
            "it has no tokenizer.json, but a SentencePiece model, which takes one more package: "
            "pip install sentencepiece"
        )
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


class Tokenizer:
    """A Hugging Face tokenizer with the few things the engine's callers need. Thread safe.

    `added_token_ids` are the tokens that stand for one fixed text each, special or not.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.hf_tokenizer = tokenizer
        self.control_tokens = ControlTokens(_control_tokens(tokenizer))
        self.texts = TokenTexts(tokenizer)
        self.eos_token_id: int | None = tokenizer.eos_token_id
        self.special_token_ids = frozenset(
            token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special
        )
        self.added_token_ids: dict[str, int] = {
            token.content: token_id for token_id, token in tokenizer.added_tokens_decoder.items()
        }
        self._unknown_id: int | None = tokenizer.unk_token_id
        self._unknown_token: str | None = tokenizer.unk_token
        self._fast: FastTokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
        self._literal: dict[bool, FastTokenizer] = {}
        if self._fast is not None:
            # The file may still have those of a training run: a prompt is never cut or filled up.
            self._fast.no_truncation()
            self._fast.no_padding()

    def __len__(self) -> int:
        return len(self.hf_tokenizer)

    def encode_prompt(self, text: str) -> list[int]:
        """The tokens of a rendered prompt. No special tokens are added; those written by the
        template become tokens, those marked as somebody's text become text.
        """
        marked = self.control_tokens.split(text)
        if marked.has_literals:
            return self._encode_marked(marked)
        return self._encode(marked.text)

    def encode_text(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The tokens of a text that no template made: special tokens written in it become tokens,
        and those that the tokenizer puts around every text (often one at its beginning) are added
        unless told otherwise.
        """
        return self._encode(text, add_special_tokens=add_special_tokens)

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = True) -> str:
        """The text of the tokens; bytes that form no character become U+FFFD."""
        text: str = self.hf_tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)
        if _REPLACEMENT not in text:
            return text
        hidden = self.special_token_ids if skip_special_tokens else ()
        shown = [token_id for token_id in token_ids if token_id not in hidden]
        mended = self.texts.mend_bytes(shown)
        if mended != shown:
            text = self.hf_tokenizer.decode(mended, skip_special_tokens=False)
        return text

    def _encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        if self._fast is None:
            ids: list[int] = self.hf_tokenizer.encode(text, add_special_tokens=add_special_tokens)
            return ids
        (encoding,) = self._fast.encode_batch_fast([text], add_special_tokens=add_special_tokens)
        return list(encoding.ids)

    def _encode_marked(self, marked: MarkedText) -> list[int]:
        """Stretches between two real special tokens are encoded whole, without looking for special
        tokens in them, if they hold a marked one; so text on both sides of it may merge with it,
        as in any other text.
        """
        if self._fast is None:
            return self._encode_marked_slowly(marked)
        encoding = self._fast.encode(marked.masked, add_special_tokens=False)
        ids: list[int] = []
        pending: list[int] = []
        start = 0
        spans = zip(encoding.ids, encoding.offsets, strict=True)
        for token_id, (begin, end) in [*spans, (None, (len(marked.text), len(marked.text)))]:
            if token_id is not None and not self._is_written(token_id, marked.masked[begin:end]):
                pending.append(token_id)
                continue
            stretch = marked.text[start:begin]
            is_plain = stretch == marked.masked[start:begin]
            ids += pending if is_plain else self._encode_literally(stretch, is_first=start == 0)
            if token_id is not None:
                ids.append(token_id)
            pending, start = [], end
        return ids

    def _is_written(self, token_id: int, text: str) -> bool:
        """Whether `text` became a special token because it is one. The unknown token also stands
        for text that the vocabulary lacks.
        """
        if token_id == self._unknown_id:
            return text.strip() == self._unknown_token
        return token_id in self.special_token_ids

    def _encode_literally(self, text: str, *, is_first: bool) -> list[int]:
        """Encode without recognising special tokens. Their ids never come out, so a token's own
        text decides its id even where leaving them out shifted the numbers.
        """
        assert self._fast is not None
        if is_first not in self._literal:
            self._literal[is_first] = _without_special_tokens(self._fast, is_first=is_first)
        (encoding,) = self._literal[is_first].encode_batch([text], add_special_tokens=False)
        ids = [self._fast.token_to_id(token) for token in encoding.tokens]
        return [token_id for token_id in ids if token_id is not None]

    def _encode_marked_slowly(self, marked: MarkedText) -> list[int]:
        """For tokenizers written in Python: marked tokens are encoded apart from the rest."""
        ids: list[int] = []
        start = 0
        for stop in range(1, len(marked.text) + 1):
            is_literal = marked.text[start] != marked.masked[start]
            if stop < len(marked.text) and is_literal == (marked.text[stop] != marked.masked[stop]):
                continue
            ids += self.hf_tokenizer.encode(
                marked.text[start:stop], add_special_tokens=False, split_special_tokens=is_literal
            )
            start = stop
        return ids


def _control_tokens(tokenizer: Any) -> list[str]:
    """Special tokens, and what the checkpoint itself lists as control tokens of its template."""
    listed = getattr(tokenizer, "chat_control_tokens", None) or ()
    added = tokenizer.added_tokens_decoder.values()
    return [token.content for token in added if token.special or token.content in listed]


def _without_special_tokens(tokenizer: FastTokenizer, *, is_first: bool) -> FastTokenizer:
    """A copy that does not know special tokens. Tokenizers that put a space before the first word
    of a prompt only must not do so for a later stretch of it.
    """
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["special"]]
    spec["post_processor"] = None
    if not is_first:
        _never_prepend(spec["pre_tokenizer"])
    return FastTokenizer.from_str(json.dumps(spec))


def _never_prepend(pre_tokenizer: dict[str, Any] | None) -> None:
    if pre_tokenizer is None:
        return
    for part in [pre_tokenizer, *pre_tokenizer.get("pretokenizers", [])]:
        if part.get("prepend_scheme") == "first":
            part["prepend_scheme"] = "never"
