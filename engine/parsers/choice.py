"""Which parsers a model's answers need.

Owns: the marks by which a family is known: what its chat template writes and which tokens its
tokenizer has. Must not know: the formats themselves. The first mark that fits decides, so families
that borrow another one's tags come before it.
"""

from dataclasses import dataclass, replace

from engine.parsers.answer import AnswerParser
from engine.parsers.contract import NO_PARSER, ReasoningParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.reasoning.tags import TagReasoning
from engine.parsers.response_template import response_template_parser
from engine.parsers.tools import tool_parser
from engine.tokenizer import Tokenizer

__all__ = ["ParserNames", "answer_parser", "detect_parsers"]

# Every text of a tuple has to be in the template, or be a token where it can be one.
_TOOL_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("openai", ("<|channel|>", "<|message|>")),
    ("kimi_k2", ("<|tool_calls_section_begin|>",)),
    ("deepseek_v32", ("\uff5cDSML\uff5c",)),
    ("deepseek_v3", ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "```json")),
    ("deepseek_v31", ("<\uff5ctool\u2581calls\u2581begin\uff5c>",)),
    ("step3", ("<steptml:invoke",)),
    ("minimax_m2", ("<minimax:tool_call>",)),
    ("seed_oss", ("<seed:tool_call>",)),
    ("functiongemma", ("<start_function_call>",)),
    ("glm47", ("<tool_call>{function-name}<arg_key>",)),
    ("glm45", ("<arg_key>",)),
    ("qwen3_coder", ("<function=", "<parameter=")),
    ("mistral", ("[TOOL_CALLS]",)),
    ("internlm", ("<|action_start|>", "<|plugin|>")),
    ("hunyuan_a13b", ("<tool_calls>", "<answer>")),
    ("jamba", ("<tool_calls>",)),
    ("phi4_mini_json", ("functools",)),
    ("phi4_mini_json", ("<|tool|>", "<|tool_call|>")),
    ("granite4", ("<|start_of_role|>", "</tool_call>")),
    ("granite", ("<|start_of_role|>", "<|tool_call|>")),
    ("ernie45", ("<tool_call>", "<response>")),
    ("hermes", ("<tool_call>",)),
    ("llama4_pythonic", ("<|header_start|>", "[func_name1(")),
    ("llama4_json", ("<|header_start|>", '"parameters"')),
    ("pythonic", ("[func_name1(",)),
    ("llama3_json", ("<|python_tag|>",)),
    ("llama3_json", ("<|start_header_id|>", '"parameters"')),
)
_REASONING_MARKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("openai_gptoss", ("<|channel|>", "<|message|>")),
    ("mistral", ("[THINK]", "[/THINK]")),
    ("seed_oss", ("<seed:think>",)),
    ("granite", ("Here is my thought process",)),
    ("kimi_k2", ("</think>", "<|tool_calls_section_begin|>")),
    ("minimax_m2", ("</think>", "<minimax:tool_call>")),
    ("hunyuan_a13b", ("</think>", "<answer>")),
    ("ernie45", ("</think>", "<response>")),
    ("glm45", ("</think>", "<arg_key>")),
    ("qwen3", ("</think>",)),
)


@dataclass(frozen=True, slots=True)
class ParserNames:
    """The parsers of a model, None where it needs none."""

    tools: str | None
    reasoning: str | None


def detect_parsers(tokenizer: Tokenizer, template: str) -> ParserNames:
    """The parsers that fit a checkpoint with this chat template."""
    return ParserNames(
        _first_fit(_TOOL_MARKS, tokenizer, template),
        _first_fit(_REASONING_MARKS, tokenizer, template),
    )


def answer_parser(
    tokenizer: Tokenizer,
    template: str,
    *,
    tool_call_parser: str | None = None,
    reasoning: str | None = None,
) -> AnswerParser:
    """The parser of a model's answers. None chooses automatically: the checkpoint's own response
    template if it has one, else by `detect_parsers`; "none" switches off; any other name has to be
    in TOOL_PARSERS or REASONING_PARSERS (KeyError).
    """
    found = detect_parsers(tokenizer, template)
    tools_name = _resolve(tool_call_parser, found.tools)
    reasoning_name = _resolve(reasoning, found.reasoning)
    is_automatic = tool_call_parser is None and reasoning is None
    thoughts = reasoning_parser(reasoning_name) if reasoning_name is not None else None
    if reasoning is None:
        thoughts = _only_if_seen(thoughts)
    return AnswerParser(
        tokenizer,
        tools=tool_parser(tools_name) if tools_name is not None else None,
        reasoning=thoughts,
        template=response_template_parser(tokenizer) if is_automatic else None,
    )


def _resolve(wanted: str | None, found: str | None) -> str | None:
    if wanted is None:
        return found
    return None if wanted == NO_PARSER else wanted


def _only_if_seen(parser: ReasoningParser | None) -> ReasoningParser | None:
    """Nobody said that the model reasons, so only what the prompt or the output shows counts: a
    template knows of thoughts in many a model that has none.
    """
    if isinstance(parser, TagReasoning):
        return replace(parser, is_implicit=False)
    return parser


def _first_fit(
    marks: tuple[tuple[str, tuple[str, ...]], ...], tokenizer: Tokenizer, template: str
) -> str | None:
    tokens = tokenizer.added_token_ids if template else {}
    return next(
        (
            name
            for name, texts in marks
            if all(text in template or text in tokens for text in texts)
        ),
        None,
    )
