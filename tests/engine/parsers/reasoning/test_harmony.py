import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from tests.engine.parsers.texts import TextTokenizer

ANALYSIS = "<|channel|>analysis<|message|>I think.<|end|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>It rains."
CALL = (
    "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json"
    '<|message|>{"city": "Tokyo"}'
)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        (ANALYSIS + FINAL, "I think.", FINAL),
        (ANALYSIS + CALL, "I think.", CALL),
        (ANALYSIS, "I think.", ""),
        ("<|channel|>analysis<|message|>cut", "cut", ""),
        (f"{ANALYSIS}<|start|>assistant{ANALYSIS}{FINAL}", "I think.\nI think.", FINAL),
        ("<|channel|>final<|message|>Hi", None, "<|channel|>final<|message|>Hi"),
        ("plain", None, "plain"),
        ("", None, ""),
        ("<|channel|>analysis<|message|><|end|>" + FINAL, None, FINAL),
        (
            "<|channel|>analysis to=browser.search<|message|>x",
            None,
            "<|channel|>analysis to=browser.search<|message|>x",
        ),
    ],
)
def test_analysis_is_reasoning(text: str, reasoning: str | None, content: str) -> None:
    split = reasoning_parser("openai_gptoss").split(text)
    assert (split.reasoning, split.content) == (reasoning, content)
    assert "\n".join(text[a:b] for a, b in split.spans) == (reasoning or "")


def test_both_parsers_together_leave_no_marker() -> None:
    parser = AnswerParser(
        TextTokenizer(),  # type: ignore[arg-type]
        tools=tool_parser("openai"),
        reasoning=reasoning_parser("openai_gptoss"),
    )
    form = AnswerForm(tools=[{"name": "get_weather"}])
    answer = parser.read_text(ANALYSIS + FINAL, form)
    assert (answer.reasoning, answer.content, answer.calls) == ("I think.", "It rains.", ())
    answer = parser.read_text(ANALYSIS + CALL, form)
    assert (answer.reasoning, answer.content) == ("I think.", None)
    assert [(call.name, call.arguments) for call in answer.calls] == [
        ("get_weather", '{"city": "Tokyo"}')
    ]
    without_tools = parser.read_text(ANALYSIS + FINAL, AnswerForm())
    assert (without_tools.reasoning, without_tools.content) == ("I think.", "It rains.")
