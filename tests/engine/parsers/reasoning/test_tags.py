from typing import Any

import pytest

from engine.parsers.reasoning import reasoning_parser

CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'

# text, is_open, reasoning, content
THINK: list[tuple[str, bool | None, str | None, str]] = [
    ("<think>a thought</think>the rest", None, "a thought", "the rest"),
    ("<think>a\nb</think>c\nd", None, "a\nb", "c\nd"),
    ("\n<think>a</think>\nrest", None, "a", "\nrest"),
    ("<think>a</think>", None, "a", ""),
    ("<think>cut off", None, "cut off", ""),
    ("a thought</think>the rest", True, "a thought", "the rest"),
    ("cut off", True, "cut off", ""),
    ("<think>a</think>rest", True, "a", "rest"),
    ("an answer", False, None, "an answer"),
    ("<think>\n\n</think>\n\nHi", None, None, "\n\nHi"),
    ("</think>rest", True, None, "rest"),
    ("", True, None, ""),
    ("Write <think> to think.", False, None, "Write <think> to think."),
    ("a</think>b", False, None, "a</think>b"),
    ("<think>a</think>b<think>c</think>d", None, "a", "b<think>c</think>d"),
    ("<think>東京 🎉</think>é", None, "東京 🎉", "é"),
]


@pytest.mark.parametrize(("text", "is_open", "reasoning", "content"), THINK)
@pytest.mark.parametrize("name", ["qwen3", "deepseek_r1", "glm45", "kimi_k2", "nemotron_v3"])
def test_think_tags(
    name: str, text: str, is_open: bool | None, reasoning: str | None, content: str
) -> None:
    split = reasoning_parser(name).split(text, is_open=is_open)
    assert (split.reasoning, split.content) == (reasoning, content)
    assert split.is_open == (reasoning == "cut off" or (text == "" and is_open is True))


@pytest.mark.parametrize(
    ("name", "is_implicit"),
    [
        ("deepseek_r1", True),
        ("qwen3", True),
        ("kimi_k2", True),
        ("minimax_m2", True),
        ("step3", True),
        ("deepseek_v3", False),
        ("glm45", True),
        ("glm47", True),
        ("seed_oss", True),
        ("mistral", False),
    ],
)
def test_who_thinks_without_saying_so(name: str, is_implicit: bool) -> None:
    split = reasoning_parser(name).split("some text")
    assert (split.reasoning is not None) == is_implicit
    assert f"{split.reasoning or ''}{split.content}" == "some text"


@pytest.mark.parametrize("name", ["qwen3", "glm45", "nemotron_v3"])
def test_a_call_ends_a_thought_that_is_never_closed(name: str) -> None:
    split = reasoning_parser(name).split(f"<think>I look it up.\n{CALL}")
    assert (split.reasoning, split.content) == ("I look it up.\n", CALL)
    split = reasoning_parser(name).split(f"<think>not {CALL} yet</think>now")
    assert (split.reasoning, split.content) == (f"not {CALL} yet", "now")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mistral", "[THINK]a[/THINK]b", ("a", "b")),
        ("mistral", "an answer", (None, "an answer")),
        ("mistral", "[THINK]cut", ("cut", "")),
        ("seed_oss", "<seed:think>a</seed:think>b", ("a", "b")),
        ("seed_oss", "<seed:think>a<seed:tool_call>b", ("a", "<seed:tool_call>b")),
        ("kimi_k2", "<think>a<|tool_calls_section_begin|>b",
         ("a", "<|tool_calls_section_begin|>b")),
        ("hunyuan_a13b", "<think>\na\n</think>\n<answer>\nb\n</answer>", ("a", "b")),
        ("hunyuan_a13b", "<think>\n\na\nb\n\n</think>c", ("\na\nb\n", "c")),
        ("seed_oss", "a</seed:think>b", ("a", "b")),
        ("hunyuan_a13b", "<think>a</think><answer>b", ("a", "b")),
        ("hunyuan_a13b", "<think>a</think><answer>b</answer>\n\nc", ("a", "b\nc")),
        ("ernie45", "a</think><response>\nb\n</response> c", ("a", "b\nc")),
        ("hunyuan_a13b", "no answer tag", (None, "no answer tag")),
        ("ernie45", "a\n</think>\n\n<response>\nb\n</response>\n", ("a\n", "b")),
        ("ernie45", "a</think>b", ("a", "b")),
        ("granite", "Here is my thought process: a Here is my response: b", (" a ", " b")),
        ("granite", "Here's my thought process:a\nb Here's my response:c", ("a\nb ", "c")),
        ("granite", "Here is my thought process: cut", (" cut", "")),
        ("granite", "This is an answer.", (None, "This is an answer.")),
        ("granite", "So: Here is my response: b", (None, "So: Here is my response: b")),
    ],
)  # fmt: skip
def test_other_families(name: str, text: str, expected: tuple[Any, Any]) -> None:
    split = reasoning_parser(name).split(text)
    assert (split.reasoning, split.content) == expected


def test_spans_are_the_reasoning_in_the_output() -> None:
    text = " <think>abc</think>d"
    split = reasoning_parser("qwen3").split(text)
    assert [text[start:end] for start, end in split.spans] == ["abc"]
