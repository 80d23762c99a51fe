"""What single tokens stand for.

Owns: the bytes of each token, and the text that shows it. Must not know: requests, prompts. A token
need not be a whole number of characters: text is made from the bytes, not the other way round.
Joining the bytes of an answer's tokens gives the bytes of its text (where a decoder drops the space
before the first word, that space is still there).
"""

import json
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

__all__ = ["TokenTexts"]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenTexts:
    """The texts of one tokenizer's tokens, each found out once. Thread safe.

    `tokenizer` is a Hugging Face tokenizer. Ids that it does not have, which models with a padded
    vocabulary can still produce, are empty texts, as they are when decoded.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = {
            token_id: token.content for token_id, token in tokenizer.added_tokens_decoder.items()
        }
        fast = getattr(tokenizer, "backend_tokenizer", None)
        decoder = fast.decoder if fast is not None else None
        parts = _decoder_parts(json.loads(decoder.__getstate__())) if decoder is not None else []
        kinds = {part["type"] for part in parts}
        self._is_byte_level = "ByteLevel" in kinds
        self._has_byte_tokens = "ByteFallback" in kinds
        self._spaces = tuple(_spaces(parts))
        self._byte_of = {char: byte for byte, char in _byte_characters().items()}
        self._bytes: dict[int, bytes] = {}
        found = [fast.token_to_id(f"<0x{byte:02X}>") for byte in range(256)] if fast else []
        has_all = self._has_byte_tokens and None not in found
        self._token_of_byte: list[int] = found if has_all else []
        self._byte_of_token = {token_id: byte for byte, token_id in enumerate(self._token_of_byte)}

    def mend_bytes(self, token_ids: Iterable[int]) -> list[int]:
        """The same tokens, with U+FFFD instead of the bytes that form no character. Decoders that
        fall back to bytes show every byte of a run as U+FFFD if one of its characters is broken, as
        the last one of an answer that is cut off: those before it would vanish. Ids that the
        tokenizer does not have are left out: they do not end a run.
        """
        mended: list[int] = []
        known = filter(self.bytes_of, token_ids)
        for is_run, run in groupby(known, self._byte_of_token.__contains__):
            if is_run:
                text = bytes(self._byte_of_token[token_id] for token_id in run)
                whole = text.decode("utf-8", "replace").encode()
                mended += [self._token_of_byte[byte] for byte in whole]
            else:
                mended += run
        return mended

    def bytes_of(self, token_id: int) -> bytes:
        """The token's UTF-8 bytes, which may be a part of a character."""
        known = self._bytes.get(token_id)
        if known is None:
            known = self._bytes[token_id] = self._find(token_id)
        return known

    def text_of(self, token_id: int) -> str:
        """The token's text; the bytes of an incomplete character are written as OpenAI writes them,
        with a backslash, an x and two hex digits each.
        """
        data = self.bytes_of(token_id)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("utf-8", "backslashreplace")

    def _find(self, token_id: int) -> bytes:
        added = self._added.get(token_id)
        if added is not None:
            return str(added).encode()
        token = self._tokenizer.convert_ids_to_tokens(token_id)
        if token is None:
            return b""
        if self._is_byte_level:
            found = [self._byte_of.get(char) for char in token]
            if None not in found:
                return bytes(byte for byte in found if byte is not None)
        if self._has_byte_tokens and (match := _BYTE_TOKEN.fullmatch(token)):
            return bytes.fromhex(match.group(1))
        if self._spaces:
            for mark in self._spaces:
                token = token.replace(mark, " ")
            return str(token).encode()
        text: str = self._tokenizer.decode([token_id])
        return text.encode()


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    characters: dict[int, str] = bytes_to_unicode()  # type: ignore[no-untyped-call]
    return characters


def _decoder_parts(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    nested = decoder.get("decoders")
    if nested is None:
        return [decoder]
    return [part for item in nested for part in _decoder_parts(item)]


def _spaces(parts: list[dict[str, Any]]) -> list[str]:
    """The characters that stand for a space inside tokens."""
    marks = [part["replacement"] for part in parts if part["type"] == "Metaspace"]
    for part in parts:
        if part["type"] == "Replace" and part["content"] == " ":
            pattern = part["pattern"].get("String")
            if pattern:
                marks.append(pattern)
    return marks
