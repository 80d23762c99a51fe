"""The tool parsers by name.

Owns: which name is which parser. Must not know: how to choose one (engine/parsers/choice.py).
Names are vLLM's, so that a user's flags carry over. Modules load when a parser is first asked for.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from engine.parsers.contract import ToolParser

__all__ = ["TOOL_PARSERS", "tool_parser"]

TOOL_PARSERS: Mapping[str, str] = {
    "deepseek_v3": "deepseek:DEEPSEEK_V3",
    "deepseek_v31": "deepseek:DEEPSEEK_V31",
    "deepseek_v32": "deepseek_dsml:DEEPSEEK_V32",
    "ernie45": "ernie45:PARSER",
    "functiongemma": "functiongemma:PARSER",
    "glm45": "glm:GLM45",
    "glm47": "glm:GLM47",
    "granite": "granite:GRANITE",
    "granite4": "granite:GRANITE4",
    "hermes": "hermes:PARSER",
    "hunyuan_a13b": "hunyuan_a13b:PARSER",
    "internlm": "internlm:PARSER",
    "jamba": "jamba:PARSER",
    "kimi_k2": "kimi_k2:PARSER",
    "llama3_json": "llama3_json:PARSER",
    "llama4_json": "llama3_json:LLAMA4",
    "llama4_pythonic": "pythonic:LLAMA4",
    "minimax_m2": "minimax_m2:PARSER",
    "mistral": "mistral:PARSER",
    "openai": "harmony:PARSER",
    "phi4_mini_json": "phi4_mini_json:PARSER",
    "pythonic": "pythonic:PARSER",
    "qwen3_coder": "qwen3_xml:QWEN3_CODER",
    "qwen3_xml": "qwen3_xml:QWEN3_XML",
    "seed_oss": "seed_oss:PARSER",
    "step3": "step3:PARSER",
    "xlam": "xlam:PARSER",
}
"""Name on the command line -> module of this package and the parser in it."""


@cache
def tool_parser(name: str) -> ToolParser:
    """The parser called `name`. Raises KeyError for a name that is not in TOOL_PARSERS."""
    module, attribute = TOOL_PARSERS[name].split(":")
    parser: ToolParser = getattr(import_module(f"{__name__}.{module}"), attribute)
    return parser
