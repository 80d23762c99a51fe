"""Every name that a user of vLLM may know resolves, and to a parser that answers to it."""

import pytest

from engine.parsers.reasoning import REASONING_PARSERS, reasoning_parser
from engine.parsers.tools import TOOL_PARSERS, tool_parser

TOOL_NAMES = [
    "deepseek_v3",
    "deepseek_v31",
    "deepseek_v32",
    "ernie45",
    "functiongemma",
    "glm45",
    "glm47",
    "granite",
    "granite4",
    "hermes",
    "hunyuan_a13b",
    "internlm",
    "jamba",
    "kimi_k2",
    "llama3_json",
    "llama4_pythonic",
    "minimax_m2",
    "mistral",
    "openai",
    "phi4_mini_json",
    "pythonic",
    "qwen3_coder",
    "qwen3_xml",
    "seed_oss",
    "step3",
    "xlam",
]


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_every_promised_tool_parser_is_there(name: str) -> None:
    assert name in TOOL_PARSERS


@pytest.mark.parametrize("name", sorted(TOOL_PARSERS))
def test_tool_parsers_know_their_names_and_their_markers(name: str) -> None:
    parser = tool_parser(name)
    assert parser.name == name
    assert parser is tool_parser(name)
    syntax = parser.syntax
    for texts in (syntax.starts, syntax.ends, syntax.markers):
        assert isinstance(texts, tuple)
        assert all(isinstance(text, str) and text for text in texts)
        assert len(set(texts)) == len(texts)
    plain = parser.parse("Nothing to call.", [])
    assert (plain.content, plain.calls, plain.error) == ("Nothing to call.", (), None)


@pytest.mark.parametrize("name", sorted(REASONING_PARSERS))
def test_reasoning_parsers_know_their_names(name: str) -> None:
    parser = reasoning_parser(name)
    assert parser.name == name
    assert parser.markers


@pytest.mark.parametrize("name", ["", "qwen3_Coder", "no such parser", "__init__"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(KeyError):
        tool_parser(name)
    with pytest.raises(KeyError):
        reasoning_parser(name)
