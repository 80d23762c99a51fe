"""What holds for the markup and token families, whatever pieces of their format a model writes."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.parsers.contract import ParsedTools
from engine.parsers.tools import tool_parser

TOOLS: list[dict[str, Any]] = [
    {"name": "f", "parameters": {"properties": {"k2x": {"type": "string"}, "k4x": {}}}},
    {"name": "g", "parameters": {"properties": {"k3x": {"type": "integer"}}}},
]
# {n} is another number wherever it stands, so that no argument comes twice and no word is another.
WORDS = ["word{n}", " ", "\n", "{{", "}}", '"', "'", ",", ":", "\\"]
DSML = "｜DSML｜"
JSON_CALL = '{{"name": "word{n}", "arguments": {{"k{n}": "word{n}"}}}}'
# A whole answer of each family in pieces, and other pieces it may have.
FAMILIES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "qwen3_coder": (
        ["word{n}", "<tool_call>", "\n", "<function=f>", "<parameter=k{n}>", "word{n}",
         "</parameter>", "<parameter=k{n}>", "\nword{n}\n", "</parameter>", "</function>", "\n",
         "</tool_call>"],
        ["<function=word{n}>", "<function=", "<parameter="],
    ),
    "seed_oss": (
        ["<seed:think>", "word{n}", "</seed:think>", "<seed:tool_call>", "<function=f>",
         "<parameter=k{n}>", "word{n}", "</parameter>", "</function>", "</seed:tool_call>"],
        ["<function=word{n}>", "<function="],
    ),
    "minimax_m2": (
        ["word{n}", "<minimax:tool_call>", "\n", '<invoke name="f">', '<parameter name="k{n}">',
         "word{n}", "</parameter>", "</invoke>", "<invoke name=word{n}>", "</invoke>",
         "</minimax:tool_call>"],
        ["<invoke name=", '<parameter name="k{n}">word{n}</parameter>'],
    ),
    "step3": (
        ["<｜tool_calls_begin｜>", "<｜tool_call_begin｜>", "function", "<｜tool_sep｜>",
         '<steptml:invoke name="f">', '<steptml:parameter name="k{n}">', "word{n}",
         "</steptml:parameter>", "</steptml:invoke>", "<｜tool_call_end｜>",
         "<｜tool_calls_end｜>"],
        ['<steptml:invoke name="word{n}">', "<steptml:invoke"],
    ),
    "deepseek_v32": (
        ["word{n}", f"<{DSML}function_calls>", f'<{DSML}invoke name="f">',
         f'<{DSML}parameter name="k{{n}}" string="true">', "word{n}", f"</{DSML}parameter>",
         f"</{DSML}invoke>", f"</{DSML}function_calls>"],
        [f'<{DSML}parameter name="k{{n}}" string="false">', f'<{DSML}invoke name="word{{n}}">'],
    ),
    "glm45": (
        ["word{n}", "<tool_call>", "f", "<arg_key>", "k{n}", "</arg_key>", "\n", "<arg_value>",
         "word{n}", "</arg_value>", "<arg_key>k{n}</arg_key><arg_value>", "word{n}", "</arg_value>",
         "</tool_call>"],
        ["<tool_call>word{n}</tool_call>"],
    ),
    "kimi_k2": (
        ["word{n}", "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "functions.word{n}:0",
         "<|tool_call_argument_begin|>", '{{"k{n}": "word{n}"}}', "<|tool_call_end|>",
         "<|tool_calls_section_end|>"],
        ["{n}", '{{"k{n}"', "{{}}"],
    ),
    "deepseek_v3": (
        ["word{n}", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>",
         "word{n}", "\n```json\n", '{{"k{n}": "word{n}"}}', "\n```", "<｜tool▁call▁end｜>",
         "<｜tool▁calls▁end｜>"],
        ['{{"k{n}"', "{{}}"],
    ),
    "functiongemma": (
        ["word{n}", "<start_function_call>", "call:f{{", "k{n}:", "<escape>", "word{n}", "<escape>",
         ",", "k{n}:", "[", "7", ",", "null", "]", "}}", "<end_function_call>"],
        ["call:word{n}{{", "<escape>word{n}<escape>"],
    ),
    "openai": (
        ["<|channel|>", "analysis", "<|message|>", "word{n}", "<|end|>", "<|start|>", "assistant",
         "<|channel|>", "commentary", " to=functions.word{n} ", "<|constrain|>", "json",
         "<|message|>", '{{"k{n}": "word{n}"}}', "<|call|>"],
        ["<|return|>", "final"],
    ),
    "pythonic": (
        ["word{n} ", "[", "f(", "k{n}=", "'word{n}'", ", ", "k{n}=", "[", "1", "]", ")", ", ",
         "word{n}(", ")", "]"],
        ["<|python_start|>", "<|python_end|>", "[f(k{n}='word{n}')]", '"""'],
    ),
    "hunyuan_a13b": (
        ["<think>", "word{n}", "</think>", "<tool_calls>", "[", JSON_CALL, ", ", JSON_CALL, "]",
         "</tool_calls>"],
        ['{{"name": "f"'],
    ),
    "ernie45": (
        ["word{n}", "\n", "<tool_call>", "\n", JSON_CALL, "\n", "</tool_call>", "\n"],
        ['{{"name": "f"'],
    ),
}  # fmt: skip
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def texts(draw: st.DrawFn, name: str) -> str:
    """Answers of the family in which some pieces are missing, others added."""
    whole, others = FAMILIES[name]
    pieces = list(whole) * draw(st.integers(1, 3))
    own = st.sampled_from([*whole, *others])
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(pieces)))
        if draw(st.booleans()):
            del pieces[place : place + draw(st.integers(1, 3))]
        else:
            pieces.insert(place, draw(st.one_of(own, st.sampled_from(WORDS))))
    return numbered(pieces)


def numbered(pieces: Sequence[str]) -> str:
    number = 0
    text: list[str] = []
    for part in re.split(r"(\{n\})", "".join(pieces)):
        number += part == "{n}"
        text.append(f"{number}x" if part == "{n}" else part)
    return "".join(text).replace("{{", "{").replace("}}", "}")


def said(parsed: ParsedTools) -> str:
    calls = " ".join(f"{call.name} {call.arguments} {call.id}" for call in parsed.calls)
    return f"{parsed.content} {parsed.reasoning} {calls}"


@pytest.mark.parametrize("name", FAMILIES)
@EXAMPLES
@given(data=st.data())
def test_no_word_is_lost_and_every_call_is_an_object(name: str, data: st.DataObject) -> None:
    parser = tool_parser(name)
    text = data.draw(texts(name))
    for tools in (TOOLS, []):
        parsed = parser.parse(text, tools)
        for call in parsed.calls:
            assert isinstance(json.loads(call.arguments), dict)
            assert call.name.strip() == call.name != ""
        for word in re.findall(r"word\d+x", text):
            assert word in said(parsed)
        assert parsed.error is None or parsed.content
        if not parsed.calls and name != "openai":
            assert (parsed.content or "") == text


@pytest.mark.parametrize("name", FAMILIES)
@EXAMPLES
@given(data=st.data())
def test_what_was_found_stays_found(name: str, data: st.DataObject) -> None:
    parser = tool_parser(name)
    text = data.draw(texts(name))
    whole = parser.parse(text, TOOLS).calls
    ends = "|".join(map(re.escape, parser.syntax.ends))
    for end in re.finditer(ends, text):
        calls = parser.parse(text[: end.end()], TOOLS).calls
        assert calls == whole[: len(calls)]
