import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.parsers.output import OutputReader
from engine.parsers.token_stream import TokenStream
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer

START, END = "<tool_call>", "</tool_call>"


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
@pytest.mark.parametrize(
    "pieces",
    [
        ("hello world",),
        ("say", START, "hello", END, "the end"),
        ("the <tool_call> word <tool", "_call>", START, "é東🎉", END),
        ("<tool_call", ">", "<", "tool_call", START),
        (START, START, END),
        ("", "<", START, "/tool_call>"),
    ],
)
def test_a_stream_of_tokens_settles_the_same_text(kind: str, pieces: tuple[str, ...]) -> None:
    tokenizer = marked_tokenizer(kind)
    reader = OutputReader(tokenizer, (START, END))
    ids = marked_ids(tokenizer, *pieces)
    stream = TokenStream(tokenizer, reader)
    texts = [stream.feed([token_id]) for token_id in ids]
    output = reader.read(ids)
    assert "".join([*texts, stream.finish()]) == output.text
    at_once = TokenStream(tokenizer, reader)
    assert at_once.feed(ids) + at_once.finish() == output.text


def test_a_stream_never_shows_a_part_of_a_marker_or_of_a_character() -> None:
    tokenizer = marked_tokenizer()
    reader = OutputReader(tokenizer, (START,))
    stream = TokenStream(tokenizer, reader)
    for token_id in marked_ids(tokenizer, "a <tool_cal"):
        assert "<" not in stream.feed([token_id])
    assert stream.finish() == "<tool_cal"
    stream = TokenStream(tokenizer, reader)
    texts = [stream.feed([token_id]) for token_id in marked_ids(tokenizer, "🎉é")]
    assert "\ufffd" not in "".join(texts)
    assert "".join(texts) + stream.finish() == "🎉é"


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
@given(data=st.data())
def test_what_was_shown_of_any_tokens_is_the_beginning_of_their_text(
    kind: str, data: st.DataObject
) -> None:
    """Bytes in any order: an emoji that is complete, and then one that is cut off."""
    tokenizer = marked_tokenizer(kind)
    known = marked_ids(tokenizer, "🎉 é東 the")
    ids = data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=12))
    stream = TokenStream(tokenizer, OutputReader(tokenizer, ()), is_guarded=False)
    shown = "".join(stream.feed([token_id]) for token_id in ids)
    assert tokenizer.decode(ids).startswith(shown)
    assert shown + stream.finish() == tokenizer.decode(ids)


def test_special_tokens_are_left_out_unless_they_are_to_be_kept() -> None:
    tokenizer = marked_tokenizer(special=True)
    reader = OutputReader(tokenizer, (START,))
    ids = marked_ids(tokenizer, "<|im_start|>", START, "the", END)
    assert TokenStream(tokenizer, reader).feed(ids) == f"{START}the"
    assert TokenStream(tokenizer, reader, False).feed(ids) == f"<|im_start|>{START}the{END}"
