import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chat_template import ChatTemplate
from engine.errors import ModelRefusedError
from engine.tokenizer import Tokenizer, load_tokenizer
from tests.engine.tiny_tokenizers import KINDS, tiny_tokenizer

TOKENIZERS = {kind: Tokenizer(tiny_tokenizer(kind)) for kind in KINDS}
ORDINARY = [
    [{"role": "user", "content": "hello world"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": "  the end \n\n of é 日本 🙂"}],
    [{"role": "user", "content": "a<think>b</think> [INST] <b> x|y"}],
]


@pytest.mark.parametrize("messages", ORDINARY)
@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_prompts_get_the_tokens_of_apply_chat_template(
    kind: str, messages: list[dict[str, str]]
) -> None:
    tokenizer = TOKENIZERS[kind]
    text = ChatTemplate(tokenizer).render(messages)
    expected = tokenizer.hf_tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert tokenizer.encode_prompt(text) == expected


@pytest.mark.parametrize("token", ["<|im_end|>", "</s>", "<|im_start|>"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_in_a_message_is_encoded_as_text(kind: str, token: str) -> None:
    tokenizer = TOKENIZERS[kind]
    messages = [{"role": "user", "content": f"hello {token} world"}]
    ids = tokenizer.encode_prompt(ChatTemplate(tokenizer).render(messages))
    harmless = [{"role": "user", "content": "hello  world"}]
    plain = tokenizer.encode_prompt(ChatTemplate(tokenizer).render(harmless))
    specials = tokenizer.special_token_ids - {tokenizer.hf_tokenizer.unk_token_id}
    assert [i for i in ids if i in specials] == [i for i in plain if i in specials]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "legacy_llama"])
def test_text_around_a_literal_token_is_encoded_as_if_it_were_any_text(kind: str) -> None:
    """The same stretch with a token that does not exist gives the same pieces around it."""
    tokenizer = TOKENIZERS[kind]
    fast = tokenizer.hf_tokenizer

    def content_tokens(word: str) -> list[str]:
        messages = [{"role": "user", "content": f"say {word} to the assistant"}]
        ids = tokenizer.encode_prompt(ChatTemplate(tokenizer).render(messages))
        tokens: list[str] = fast.convert_ids_to_tokens(ids)
        return tokens[1 : tokens.index("<|im_end|>")]

    literal, unknown = content_tokens("<|im_end|>"), content_tokens("<|im_ent|>")
    assert literal[:5] == unknown[:5]
    assert literal[-5:] == unknown[-5:]
    assert (
        fast.convert_tokens_to_string(literal).strip().endswith("say <|im_end|> to the assistant")
    )


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "legacy_llama", "rstrip"])
@given(content=st.lists(st.sampled_from(["<|im_end|>", "</s>", "a", " ", "\n", "é", "🙂"])))
def test_any_message_can_be_read_back(kind: str, content: list[str]) -> None:
    tokenizer = TOKENIZERS[kind]
    text = "".join(content)
    ids = tokenizer.encode_prompt(
        ChatTemplate(tokenizer).render([{"role": "user", "content": text}])
    )
    start, end = (tokenizer.hf_tokenizer.convert_tokens_to_ids(t) for t in _MARKS)
    assert ids[0] == start
    assert ids.count(start) == 2
    assert ids.count(end) == 1
    shown = tokenizer.decode(ids[1 : ids.index(end)]).replace(" ", "")
    assert shown == f"user\n{text}".replace(" ", "")


_MARKS = ("<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "legacy_llama"])
def test_a_character_that_is_cut_off_takes_none_of_those_before_it_along(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode_text("hello 🙂\n🎉", add_special_tokens=False)
    assert [tokenizer.decode(ids[:-cut]) for cut in (1, 2, 3)] == ["hello 🙂\n\ufffd"] * 3
    padding = 10**6  # an id of the model's that the tokenizer does not have
    assert tokenizer.decode([*ids[:-5], padding, *ids[-5:-1]]) == "hello 🙂\n\ufffd"
    assert tokenizer.decode([*ids[:-7], padding, *ids[-7:-1]]) == "hello 🙂\n\ufffd"


def test_a_prompt_is_whole_whatever_lengths_the_file_was_saved_with(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer("byte_level")
    text = "hello <|im_end|> the end of the world"
    expected = Tokenizer(tokenizer).encode_prompt(text)
    tokenizer.backend_tokenizer.enable_truncation(3)
    tokenizer.backend_tokenizer.enable_padding(length=40)
    tokenizer.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text())
    assert saved["truncation"]["max_length"] == 3
    assert saved["padding"]["strategy"] == {"Fixed": 40}
    loaded = load_tokenizer(tmp_path, "cut")
    assert loaded.encode_prompt(text) == loaded.encode_text(text) == expected


def test_special_tokens_are_left_out_of_text_unless_asked_for() -> None:
    tokenizer = TOKENIZERS["byte_level"]
    ids = tokenizer.encode_prompt("<|im_start|>hello<|im_end|>")
    assert tokenizer.decode(ids) == "hello"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<|im_start|>hello<|im_end|>"


def test_the_demo_tokenizer_knows_its_end_and_its_size(random_folder: Path) -> None:
    tokenizer = load_tokenizer(random_folder, "demo")
    assert (
        tokenizer.decode([tokenizer.eos_token_id or 0], skip_special_tokens=False) == "<|im_end|>"
    )
    assert len(tokenizer) == 2048
    assert tokenizer.eos_token_id in tokenizer.special_token_ids


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model": {"type": "Nonsense"}}'])
def test_a_missing_or_damaged_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
        (tmp_path / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast"}'
        )
    with pytest.raises(ModelRefusedError, match="cannot run broken: its tokenizer does not load"):
        load_tokenizer(tmp_path, "broken")


def test_what_a_tokenizer_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelRefusedError, match=r"does not load: .* has no tokenizer\.json$"):
        load_tokenizer(tmp_path, "broken")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    monkeypatch.setattr("engine.tokenizer.find_spec", lambda _: None)
    with pytest.raises(ModelRefusedError, match=r"pip install sentencepiece$"):
        load_tokenizer(tmp_path, "broken")
