"""The demo model's tokenizer: byte-level BPE shaped so that copying is easy.

Owns: pre-tokenisation, added tokens, training. Must not know: the model.
A word is always split in the same way, whatever stands before it: spaces are tokens of their own
(apart from frequent function words), digits and punctuation too. So a value has the same tokens in
a question and in a JSON string. Fixed pieces of JSON Schema and of the template are one token each.
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

__all__ = ["END_TOKEN", "PAD_TOKEN", "save_tokenizer", "train_tokenizer"]

END_TOKEN = "<|im_end|>"  # noqa: S105
PAD_TOKEN = "<|endoftext|>"  # noqa: S105
_CONTROL = (PAD_TOKEN, "<|im_start|>", END_TOKEN)
_MARKS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
_TYPES = ("string", "integer", "number", "boolean")
_TEMPLATE_PIECES = (
    "# Tools\n\nThese functions can be called, each given as JSON:\n<tools>\n",
    "\n</tools>\n\nTo call one, write a JSON object between tags:\n",
    '\n{"name": "...", "arguments": {...}}\n',
)
_JSON_PIECES = (
    '{"type": "function", "function": {"name": "',
    '", "description": "',
    '", "parameters": {"type": "object", "properties": {"',
    '", "parameters": {"type": "object", "properties": {',
    '{"type": "object", "properties": {"',
    '": {"type": "object", "properties": {"',
    *(f'": {{"type": "{kind}", "description": "' for kind in _TYPES),
    *(f'": {{"type": "{kind}"}}' for kind in _TYPES),
    '": {"type": "string", "enum": ["',
    '": {"type": "array", "items": {"type": "string"}',
    '": {"type": "array", "items": {"type": "integer"}',
    '"], "description": "', '}, "description": "',
    '"}}, "required": ["', '}}, "required": ["', '"], ', '"]}', '"]}}}', '}}}}', '"}}}}', '}}}',
    '"}, "', '}, "', '"]}, "', '{"name": "', '", "arguments": {"', '", "arguments": {',
    '": "', '": ["', '": {"', '": ', '", "', ', "', '{"', '["', '"]', '"]}}', '"}', '"}}', '}}',
)  # fmt: skip
_FUNCTION_WORDS = (
    "the", "a", "an", "of", "in", "is", "to", "for", "and", "or", "with", "as", "on", "at", "by",
    "be", "it", "its", "my", "me", "you", "I", "from", "that", "this", "one",
)  # fmt: skip
_SPLIT = (
    rf" (?:{'|'.join(_FUNCTION_WORDS)})(?: |\b)"
    r"|\p{Lu}?[\p{Ll}\p{Lo}\p{M}]+|\p{Lu}+|\p{N}|\s|[^\s\p{L}\p{N}]"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Trains on `texts`; `vocab_size` counts bytes, merges and added tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = [AddedToken(text, special=True, normalized=False) for text in _CONTROL]
    added += [AddedToken(text, normalized=False) for text in _MARKS + _TEMPLATE_PIECES]
    added += [AddedToken(text, normalized=False) for text in dict.fromkeys(_JSON_PIECES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(added),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(added)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, chat_template: str) -> None:
    """Writes the files that transformers loads."""
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )
    wrapped.chat_template = chat_template
    wrapped.save_pretrained(folder)
