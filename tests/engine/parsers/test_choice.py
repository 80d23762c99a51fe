from pathlib import Path

import pytest
from tokenizers import AddedToken

from engine.chat_template import ChatTemplate
from engine.parsers.choice import ParserNames, answer_parser, detect_parsers
from engine.parsers.reasoning import REASONING_PARSERS, reasoning_parser
from engine.parsers.tools import TOOL_PARSERS, tool_parser
from engine.tokenizer import Tokenizer, load_tokenizer
from tests.engine.parsers.tokenizers import marked_tokenizer
from tests.engine.tiny_tokenizers import tiny_tokenizer


def tokenizer(*tokens: str) -> Tokenizer:
    inner = tiny_tokenizer("byte_level")
    inner.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    return Tokenizer(inner)


QWEN = "<tool_call>{{ call }}</tool_call>{{ content.split('</think>') }}"


@pytest.mark.parametrize(
    ("template", "tools", "reasoning"),
    [
        (QWEN, "hermes", "qwen3"),
        ("<tool_call><function={{ name }}><parameter={{ key }}>", "qwen3_coder", None),
        ("<|channel|>analysis<|message|>", "openai", "openai_gptoss"),
        ("[TOOL_CALLS]{{ calls }}", "mistral", None),
        ("[THINK]{{ thought }}[/THINK][TOOL_CALLS]", "mistral", "mistral"),
        ("<|start_header_id|>{{ tool['parameters'] }}\"parameters\"", "llama3_json", None),
        ("<|header_start|> [func_name1(params)]", "llama4_pythonic", None),
        ("[func_name1(params)]", "pythonic", None),
        ("<tool_call>{{ name }}\n<arg_key></think>", "glm45", "glm45"),
        ("<tool_call>{function-name}<arg_key></think>", "glm47", "glm45"),
        ("<|tool_calls_section_begin|></think>", "kimi_k2", "kimi_k2"),
        ("<\uff5ctool\u2581calls\u2581begin\uff5c>```json</think>", "deepseek_v3", "qwen3"),
        ("<\uff5ctool\u2581calls\u2581begin\uff5c></think>", "deepseek_v31", "qwen3"),
        ("<\uff5cDSML\uff5cfunction_calls>", "deepseek_v32", None),
        ("<minimax:tool_call></think>", "minimax_m2", "minimax_m2"),
        ("<seed:tool_call><seed:think>", "seed_oss", "seed_oss"),
        ("<steptml:invoke", "step3", None),
        ("<tool_calls></think><answer>", "hunyuan_a13b", "hunyuan_a13b"),
        ("<|bom|><tool_calls>", "jamba", None),
        ("<|start_of_role|><|tool_call|>Here is my thought process:", "granite", "granite"),
        ("<|start_of_role|><tool_call>{{ call }}</tool_call>", "granite4", None),
        ("<|action_start|><|plugin|>", "internlm", None),
        ("functools[", "phi4_mini_json", None),
        ("<tool_call></think><response>", "ernie45", "ernie45"),
        ("<start_function_call>", "functiongemma", None),
        ("{{ messages }}", None, None),
        ("", None, None),
    ],
)
def test_the_template_tells_the_family(
    template: str, tools: str | None, reasoning: str | None
) -> None:
    assert detect_parsers(tokenizer(), template) == ParserNames(tools, reasoning)


def test_a_token_counts_as_a_mark_too() -> None:
    assert detect_parsers(tokenizer("[TOOL_CALLS]"), "{{ x }}").tools == "mistral"


def test_the_demo_model_is_one_of_them(random_folder: Path) -> None:
    loaded = load_tokenizer(random_folder, "demo")
    assert detect_parsers(loaded, ChatTemplate(loaded).source) == ParserNames("hermes", "qwen3")


def test_every_name_has_a_parser_of_that_name() -> None:
    for name in TOOL_PARSERS:
        assert tool_parser(name).name == name
        assert isinstance(tool_parser(name).syntax.starts, tuple)
    for name in REASONING_PARSERS:
        assert reasoning_parser(name).name == name


def test_flags_win_and_none_switches_off() -> None:
    def chosen(tools: str | None, reasoning: str | None) -> tuple[str | None, str | None]:
        parser = answer_parser(
            marked_tokenizer(), QWEN, tool_call_parser=tools, reasoning=reasoning
        )
        return (
            parser.tool_parser.name if parser.tool_parser else None,
            parser.reasoning_parser.name if parser.reasoning_parser else None,
        )

    assert chosen(None, None) == ("hermes", "qwen3")
    assert chosen("none", "none") == (None, None)
    assert chosen("xlam", None) == ("xlam", "qwen3")
    assert chosen(None, "deepseek_r1") == ("hermes", "deepseek_r1")


def test_only_a_flag_says_that_a_model_thinks_unseen() -> None:
    automatic = answer_parser(marked_tokenizer(), QWEN).reasoning_parser
    asked_for = answer_parser(marked_tokenizer(), QWEN, reasoning="qwen3").reasoning_parser
    assert automatic is not None
    assert asked_for is not None
    assert automatic.split("an answer").content == "an answer"
    assert asked_for.split("a thought").reasoning == "a thought"
