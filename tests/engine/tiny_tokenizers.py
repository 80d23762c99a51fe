"""Tokenizers of the usual kinds, trained on a few words."""

import json
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import PreTrainedTokenizerFast

__all__ = ["KINDS", "tiny_tokenizer"]

KINDS = ("byte_level", "metaspace", "legacy_llama", "word_piece", "rstrip")

_TEXT = [
    "hello world, this is a small text about nothing in particular",
    "the end of the user's message is not the end of the world",
    "im end a|b start user assistant system < | > / _ thank you",
    "say hello to the assistant, and the assistant says hello to you",
]
_SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content"
    " + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer(kind: str) -> Any:
    """A transformers tokenizer with a ChatML template."""
    tokenizer = _BUILDERS[kind]()
    tokenizer.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="<|im_end|>"
    )
    wrapped.chat_template = CHATML
    return wrapped


def _byte_level(rstrip: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, rstrip=rstrip) for token in _SPECIAL],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer


def _sentencepiece_like(legacy: bool) -> Tokenizer:
    """Llama 2 (a normalizer that puts a space before everything) or its successors, which put one
    before the first word of a prompt only."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        split = None
    else:
        tokenizer.pre_tokenizer = split = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=sorted(set("".join(_TEXT)) | {"▁", "\n"}),
        special_tokens=[*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    if split is None:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=True)
    tokenizer.train_from_iterator(_TEXT, trainer)
    if split is None:
        tokenizer.pre_tokenizer = None
    return _keep_byte_tokens_ordinary(tokenizer)


def _keep_byte_tokens_ordinary(tokenizer: Tokenizer) -> Tokenizer:
    """Byte tokens were special for the trainer, so that they got an id."""
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = [t for t in spec["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(spec))


def _word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer


_BUILDERS = {
    "byte_level": _byte_level,
    "metaspace": lambda: _sentencepiece_like(legacy=False),
    "legacy_llama": lambda: _sentencepiece_like(legacy=True),
    "word_piece": _word_piece,
    "rstrip": lambda: _byte_level(rstrip=True),
}
