"""The reasoning parsers by name.

Owns: which name is which parser. Must not know: how to choose one (engine/parsers/choice.py).
Names are vLLM's, so that a user's flags carry over. Modules load when a parser is first asked for.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from engine.parsers.contract import ReasoningParser

__all__ = ["REASONING_PARSERS", "reasoning_parser"]

REASONING_PARSERS: Mapping[str, str] = {
    "deepseek_r1": "tags:DEEPSEEK_R1",
    "deepseek_v3": "tags:DEEPSEEK_V3",
    "ernie45": "tags:ERNIE45",
    "glm45": "tags:GLM45",
    "glm47": "tags:GLM47",
    "granite": "tags:GRANITE",
    "holo2": "tags:HOLO2",
    "hunyuan_a13b": "tags:HUNYUAN_A13B",
    "kimi_k2": "tags:KIMI_K2",
    "mimo": "tags:MIMO",
    "minimax_m2": "tags:MINIMAX_M2",
    "mistral": "tags:MISTRAL",
    "nemotron_v3": "tags:NEMOTRON_V3",
    "olmo3": "tags:OLMO3",
    "openai_gptoss": "harmony:PARSER",
    "qwen3": "tags:QWEN3",
    "seed_oss": "tags:SEED_OSS",
    "step3": "tags:STEP3",
}
"""Name on the command line -> module of this package and the parser in it."""


@cache
def reasoning_parser(name: str) -> ReasoningParser:
    """The parser called `name`. Raises KeyError for a name that is not in REASONING_PARSERS."""
    module, attribute = REASONING_PARSERS[name].split(":")
    parser: ReasoningParser = getattr(import_module(f"{__name__}.{module}"), attribute)
    return parser
