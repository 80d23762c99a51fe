"""How each family writes calls.

Owns: the table of formats that have a grammar. Must not know: how a grammar is made of one
(tool_grammar.py), how calls are read back (engine/parsers/tools has a parser for each name). The
texts are those of the families' chat templates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["TOOL_FORMATS", "ParameterStyle", "ToolFormat", "tool_format"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterStyle:
    """How arguments are written one by one: a name and a value between three pieces of text, and
    `separator` between arguments.

    `before_text` and `after_text` stand around a plain text, inside of the other pieces. `is_json`:
    there are no plain texts, every value is JSON. `has_scalars_only`: no value is an object or a
    list. `guesses`: without a schema, a text that is JSON is read as what it is. `keeps_edges`: a
    line break at either end of a text is read as a part of it. `impossible` are the characters that
    no name holds; `has_identifiers`: names are Python's.
    """

    before_name: str = ""
    after_name: str = ""
    after_value: str = ""
    separator: str = ""
    before_text: str = ""
    after_text: str = ""
    after_json_name: str | None = None
    is_json: bool = False
    has_scalars_only: bool = False
    guesses: bool = False
    keeps_edges: bool = True
    impossible: str = "<>\n"
    has_identifiers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a family writes calls: `begin`, calls with `separator` between them, `end`; a call is its
    name and its arguments between three pieces of text.

    `is_numbered`: a colon and a number follow the name. `parameters`: how arguments are written one
    by one; None for JSON. `tags` stand in no value, since the reader would take them for its own,
    unless they are tokens. `also_opens`: other texts with which the reader finds a call.
    `opens_list`: calls begin like any list, and only the name behind it tells. `needs`: tokens
    without which there is no grammar. `is_channelled`: all messages are wrapped as calls are
    (harmony_grammar.py).
    """

    begin: str = ""
    before_name: str = '{"name": "'
    after_name: str = '", "arguments": '
    after_arguments: str = "}"
    separator: str = ", "
    end: str = ""
    is_numbered: bool = False
    parameters: ParameterStyle | None = None
    tags: tuple[str, ...] = ()
    also_opens: tuple[str, ...] = ()
    opens_list: bool = False
    needs: tuple[str, ...] = ()
    is_channelled: bool = False

    @property
    def opening(self) -> str:
        """What every answer with calls begins with."""
        return self.begin + self.before_name


_HERMES = ToolFormat(
    before_name='<tool_call>\n{"name": "', after_arguments="}\n</tool_call>", separator="\n"
)
_LLAMA = ToolFormat(after_name='", "parameters": ', separator="; ")
_MISTRAL_LIST = ToolFormat(begin="[TOOL_CALLS][", end="]")
_MISTRAL_NAMED = ToolFormat(
    before_name="[TOOL_CALLS]", after_name="[ARGS]", after_arguments="", separator=""
)
_FUNCTION_TAGS = ("<function=", "</function>", "<parameter=", "</parameter>")
_QWEN = ToolFormat(
    before_name="<tool_call>\n<function=",
    after_name=">\n",
    after_arguments="</function>\n</tool_call>",
    separator="\n",
    parameters=ParameterStyle(
        before_name="<parameter=", after_name=">\n", after_value="\n</parameter>\n"
    ),
    tags=("<tool_call>", "</tool_call>", *_FUNCTION_TAGS),
    also_opens=("<function=",),
)
_SEED_OSS = replace(
    _QWEN,
    before_name="<seed:tool_call>\n<function=",
    after_arguments="</function>\n</seed:tool_call>",
    parameters=ParameterStyle(
        before_name="<parameter=", after_name=">", after_value="</parameter>\n", keeps_edges=False
    ),
    tags=("<seed:tool_call>", "</seed:tool_call>", *_FUNCTION_TAGS),
)
_GLM_TAGS = ("<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>")
_GLM45 = ToolFormat(
    before_name="<tool_call>",
    after_name="\n",
    after_arguments="</tool_call>",
    separator="\n",
    parameters=ParameterStyle(
        before_name="<arg_key>",
        after_name="</arg_key>\n<arg_value>",
        after_value="</arg_value>\n",
    ),
    tags=(*_GLM_TAGS, "</arg_value>"),
)
_GLM47 = replace(
    _GLM45,
    after_name="",
    separator="",
    parameters=ParameterStyle(
        before_name="<arg_key>", after_name="</arg_key><arg_value>", after_value="</arg_value>"
    ),
)
_PYTHONIC = ToolFormat(
    begin="[",
    before_name="",
    after_name="(",
    after_arguments=")",
    end="]",
    parameters=ParameterStyle(
        after_name="=", separator=", ", is_json=True, impossible="", has_identifiers=True
    ),
    opens_list=True,
)
_LLAMA4_PYTHONIC = replace(_PYTHONIC, begin="<|python_start|>[", end="]<|python_end|>")
_KIMI_TAGS = (
    *("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>"),
    *("<|tool_call_argument_begin|>", "<|tool_call_end|>"),
)
_DEEPSEEK_TAGS = (
    *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>"),
    *("<｜tool▁call▁end｜>", "<｜tool▁sep｜>"),
)
_DSML = "｜DSML｜"
_STEP3_TAGS = (
    *("<｜tool_calls_begin｜>", "<｜tool_calls_end｜>", "<｜tool_call_begin｜>"),
    *("<｜tool_call_end｜>", "<｜tool_sep｜>", "<steptml:", "</steptml:"),
)

TOOL_FORMATS: Mapping[str, ToolFormat] = {
    "deepseek_v3": ToolFormat(
        begin="<｜tool▁calls▁begin｜>",
        before_name="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        after_name="\n```json\n",
        after_arguments="\n```<｜tool▁call▁end｜>",
        separator="\n",
        end="<｜tool▁calls▁end｜>",
        tags=_DEEPSEEK_TAGS,
    ),
    "deepseek_v31": ToolFormat(
        begin="<｜tool▁calls▁begin｜>",
        before_name="<｜tool▁call▁begin｜>",
        after_name="<｜tool▁sep｜>",
        after_arguments="<｜tool▁call▁end｜>",
        separator="",
        end="<｜tool▁calls▁end｜>",
        tags=_DEEPSEEK_TAGS,
    ),
    "deepseek_v32": ToolFormat(
        begin=f"<{_DSML}function_calls>\n",
        before_name=f'<{_DSML}invoke name="',
        after_name='">\n',
        after_arguments=f"</{_DSML}invoke>",
        separator="\n",
        end=f"\n</{_DSML}function_calls>",
        parameters=ParameterStyle(
            before_name=f'<{_DSML}parameter name="',
            after_name='" string="true">',
            after_json_name='" string="false">',
            after_value=f"</{_DSML}parameter>\n",
            impossible='<>"\n',
        ),
        tags=(f"<{_DSML}", f"</{_DSML}"),
        also_opens=(f"<{_DSML}invoke",),
    ),
    "ernie45": _HERMES,
    "functiongemma": ToolFormat(
        before_name="<start_function_call>call:",
        after_name="{",
        after_arguments="}<end_function_call>",
        separator="",
        parameters=ParameterStyle(
            after_name=":",
            separator=",",
            before_text="<escape>",
            after_text="<escape>",
            has_scalars_only=True,
            guesses=True,
            impossible="<>{}[],:\n",
        ),
        tags=("<escape>", "<start_function_call>", "<end_function_call>"),
    ),
    "glm45": _GLM45,
    "glm47": _GLM47,
    "granite": ToolFormat(begin="<|tool_call|>[", end="]"),
    "granite4": _HERMES,
    "hermes": _HERMES,
    "hunyuan_a13b": ToolFormat(begin="<tool_calls>[", end="]</tool_calls>"),
    "internlm": ToolFormat(
        before_name='<|action_start|><|plugin|>\n{"name": "',
        after_name='", "parameters": ',
        after_arguments="}<|action_end|>",
        separator="\n",
    ),
    "jamba": ToolFormat(begin="<tool_calls>[\n    ", separator=",\n    ", end="\n]</tool_calls>"),
    "kimi_k2": ToolFormat(
        begin="<|tool_calls_section_begin|>",
        before_name="<|tool_call_begin|>functions.",
        after_name="<|tool_call_argument_begin|>",
        after_arguments="<|tool_call_end|>",
        separator="",
        end="<|tool_calls_section_end|>",
        is_numbered=True,
        tags=_KIMI_TAGS,
    ),
    "llama3_json": _LLAMA,
    "llama4_json": _LLAMA,
    "llama4_pythonic": _LLAMA4_PYTHONIC,
    "minimax_m2": ToolFormat(
        begin="<minimax:tool_call>\n",
        before_name='<invoke name="',
        after_name='">\n',
        after_arguments="</invoke>",
        separator="\n",
        end="\n</minimax:tool_call>",
        parameters=ParameterStyle(
            before_name='<parameter name="', after_name='">', after_value="</parameter>\n"
        ),
        tags=(
            *("<minimax:tool_call>", "</minimax:tool_call>", "<invoke name=", "</invoke>"),
            *("<parameter name=", "</parameter>"),
        ),
        also_opens=("<invoke name=",),
    ),
    "mistral": _MISTRAL_LIST,
    "openai": ToolFormat(
        before_name="<|channel|>commentary to=functions.",
        after_name=" <|constrain|>json<|message|>",
        after_arguments="<|call|>",
        needs=(
            *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>"),
            "<|call|>",
        ),
        is_channelled=True,
    ),
    "phi4_mini_json": ToolFormat(begin="functools[", end="]"),
    "pythonic": _PYTHONIC,
    "qwen3_coder": _QWEN,
    "qwen3_xml": _QWEN,
    "seed_oss": _SEED_OSS,
    "step3": ToolFormat(
        begin="<｜tool_calls_begin｜>\n",
        before_name='<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="',
        after_name='">\n',
        after_arguments="</steptml:invoke><｜tool_call_end｜>",
        separator="\n",
        end="\n<｜tool_calls_end｜>",
        parameters=ParameterStyle(
            before_name='<steptml:parameter name="',
            after_name='">',
            after_value="</steptml:parameter>\n",
            impossible='<>"\n',
        ),
        tags=_STEP3_TAGS,
        also_opens=("<steptml:invoke",),
    ),
    "xlam": ToolFormat(begin="[", end="]"),
}
"""Format by the name of its parser."""


def tool_format(family: str, tokens: Mapping[str, int]) -> ToolFormat | None:
    """The format that the family writes with this tokenizer; None if there is none here."""
    if family == "mistral" and "[ARGS]" in tokens:
        return _MISTRAL_NAMED
    if family == "llama4_pythonic" and "<|python_start|>" not in tokens:
        return _PYTHONIC
    form = TOOL_FORMATS.get(family)
    return form if form is not None and all(token in tokens for token in form.needs) else None
