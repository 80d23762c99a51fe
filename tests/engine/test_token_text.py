import pytest

from engine.token_text import TokenTexts
from engine.tokenizer import Tokenizer
from tests.engine.tiny_tokenizers import KINDS, tiny_tokenizer

TEXTS = [
    "hello world, the end",
    "naïve €uro 日本語 😀👍🏽",
    "a  b\n\tc",
    "<|im_start|>user\nhello<|im_end|><think>hm",
]


def shown(tokenizer, token_ids):
    texts = TokenTexts(tokenizer)
    return b"".join(texts.bytes_of(token_id) for token_id in token_ids).decode()


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "word_piece"])
def test_the_bytes_of_all_tokens_are_the_bytes_of_the_text(kind, text):
    tokenizer = tiny_tokenizer(kind)
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    joined = shown(tokenizer, token_ids)
    decoded = tokenizer.decode(token_ids)
    # Decoders of the sentencepiece kind drop the space that begins the first word.
    assert joined in (decoded, f" {decoded}")


def test_whole_words_are_shown_without_a_table_of_bytes():
    tokenizer = tiny_tokenizer("word_piece")
    texts = TokenTexts(tokenizer)
    token_ids = tokenizer.encode("hello world", add_special_tokens=False)
    assert [texts.text_of(token_id) for token_id in token_ids] == ["hello", "world"]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_a_part_of_a_character_is_shown_as_its_bytes(kind):
    tokenizer = tiny_tokenizer(kind)
    texts = TokenTexts(tokenizer)
    token_ids = tokenizer.encode("€", add_special_tokens=False)[-3:]
    assert [texts.bytes_of(token_id) for token_id in token_ids] == [b"\xe2", b"\x82", b"\xac"]
    assert [texts.text_of(token_id) for token_id in token_ids] == ["\\xe2", "\\x82", "\\xac"]


def test_special_tokens_are_their_names_and_unknown_ids_are_empty():
    tokenizer = tiny_tokenizer("byte_level")
    texts = TokenTexts(tokenizer)
    assert texts.text_of(tokenizer.eos_token_id) == "<|im_end|>"
    assert (texts.bytes_of(10**6), texts.text_of(10**6)) == (b"", "")


@pytest.mark.parametrize("add_special_tokens", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_text_is_encoded_as_transformers_does(kind, add_special_tokens):
    from tokenizers.processors import TemplateProcessing

    wrapped = tiny_tokenizer(kind)
    begin = wrapped.convert_tokens_to_ids("<s>")
    wrapped.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", begin)]
    )
    tokenizer = Tokenizer(wrapped)
    for text in [*TEXTS, ""]:
        expected = wrapped(text, add_special_tokens=add_special_tokens)["input_ids"]
        assert tokenizer.encode_text(text, add_special_tokens=add_special_tokens) == expected
        assert (expected[:1] == [begin]) == add_special_tokens
