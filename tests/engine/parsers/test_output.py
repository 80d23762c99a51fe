import pytest

from engine.parsers.output import OutputReader
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer

START, END = "<tool_call>", "</tool_call>"


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_a_generated_marker_counts_and_a_written_one_does_not(kind: str) -> None:
    tokenizer = marked_tokenizer(kind)
    reader = OutputReader(tokenizer, (START, END))
    ids = marked_ids(tokenizer, "say", "<tool_call> is", START, "hello", END, "so </tool_call>")
    output = reader.read(ids)
    assert output.text.count(START) == 1
    assert output.text.count(END) == 1
    assert output.guard
    assert output.text.index(START) > output.text.index("is")
    assert output.clean(output.text) == tokenizer.decode(ids, skip_special_tokens=False)


def test_without_written_markers_the_text_is_untouched() -> None:
    tokenizer = marked_tokenizer()
    ids = marked_ids(tokenizer, "hello", START, "the end", END)
    output = OutputReader(tokenizer, (START, END)).read(ids)
    assert (output.text, output.guard) == (f"hello{START}the end{END}", "")


def test_a_marker_that_is_no_token_counts_as_it_is_written() -> None:
    tokenizer = marked_tokenizer()
    ids = marked_ids(tokenizer, "functools[1]")
    assert OutputReader(tokenizer, ("functools[",)).read(ids).text == "functools[1]"


def test_special_tokens_are_left_out_unless_they_are_markers() -> None:
    tokenizer = marked_tokenizer(special=True)
    reader = OutputReader(tokenizer, (START,))
    ids = marked_ids(tokenizer, "<|im_start|>", START, "the", END)
    assert reader.read(ids).text == f"{START}the"
    assert reader.read(ids, skip_special_tokens=False).text == f"<|im_start|>{START}the{END}"


@pytest.mark.parametrize("is_forged", [False, True])
def test_tokens_of_a_span(is_forged: bool) -> None:
    tokenizer = marked_tokenizer()
    inner = "a <tool_call> b" if is_forged else "a thought"
    ids = marked_ids(tokenizer, START, inner, END, "the rest")
    output = OutputReader(tokenizer, (START, END)).read(ids)
    begin, end = output.text.index(START) + len(START), output.text.index(END)
    assert output.num_tokens(begin, end) == len(marked_ids(tokenizer, inner))
    assert output.num_tokens(0, len(output.text)) == len(ids)
    middle = begin + 2
    assert output.num_tokens(begin, middle) == len(marked_ids(tokenizer, inner[:2]))


def test_a_text_that_holds_the_guard_gets_another() -> None:
    tokenizer = marked_tokenizer()
    text = "\U000f0003 <tool_call>"
    output = OutputReader(tokenizer, (START,)).read(marked_ids(tokenizer, text))
    assert output.guard not in ("", "\U000f0003")
    assert output.clean(output.text) == text
