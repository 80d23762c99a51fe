"""harmony, the format of gpt-oss."""

from dataclasses import dataclass

import pytest

from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import assert_fast

ANALYSIS = "<|channel|>analysis<|message|>We need it.<|end|>"
NEXT = "<|start|>assistant"
CALL = "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
OSLO = '{"city": "Oslo"}'
WEATHER = ("get_weather", {"city": "Oslo"})
FINAL = "<|channel|>final<|message|>"

CASES = [
    Case("plain text", "Oslo.", content="Oslo."),
    Case("an answer", f"{FINAL}Oslo.", content="Oslo."),
    Case("an answer that was ended", f"{FINAL}Oslo.<|return|>", content="Oslo."),
    Case("one call", f"{CALL}{OSLO}", [WEATHER]),
    Case("a call that was ended", f"{CALL}{OSLO}<|call|>", [WEATHER]),
    Case("a call behind reasoning", f"{ANALYSIS}{NEXT}{CALL}{OSLO}", [WEATHER]),
    Case(
        "the recipient in front of the channel",
        f" to=functions.get_weather<|channel|>commentary json<|message|>{OSLO}",
        [WEATHER],
    ),
    Case(
        "the recipient behind the role",
        f"{ANALYSIS}{NEXT} to=functions.get_weather<|channel|>commentary json<|message|>{OSLO}",
        [WEATHER],
    ),
    Case(
        "several calls",
        f"{CALL}{OSLO}<|call|>{NEXT}{CALL.replace('get_weather', 'refresh')}{{}}<|call|>",
        [WEATHER, ("refresh", {})],
    ),
    Case("a call on the channel of reasoning", f"{CALL.replace('commentary', 'analysis')}{OSLO}",
         [WEATHER]),
    Case("no kind of text", f"{CALL.replace(' <|constrain|>json', '')}{OSLO}", [WEATHER]),
    Case("the kind stuck to the recipient", f"{CALL.replace(' <|c', '<|c')}{OSLO}", [WEATHER]),
    Case("no prefix", f"{CALL.replace('functions.', '')}{OSLO}", [WEATHER]),
    Case("a built-in tool", f"{CALL.replace('functions.get_weather', 'browser.search')}{{}}",
         [("browser.search", {})]),
    Case("no arguments", f"{CALL}<|call|>", [("get_weather", {})]),
    Case("on lines", f'{CALL}{{\n"city": "Oslo"\n}}', [WEATHER]),
    Case(
        "nested, quotes, unicode",
        CALL + '{"a": [{"b": null}], "c": "\\"é東🎉\\" <x>"}',
        [("get_weather", {"a": [{"b": None}], "c": '"é東🎉" <x>'})],
    ),
    Case(
        "said before a call",
        f"<|channel|>commentary<|message|>Let me see.<|end|>{NEXT}{CALL}{OSLO}",
        [WEATHER],
        "Let me see.",
    ),
    Case(
        "said before and after",
        f"<|channel|>commentary<|message|>a<|end|>{NEXT}{CALL}{OSLO}<|call|>{NEXT}{FINAL}b",
        [WEATHER],
        "a\nb",
    ),
    Case("an answer in JSON", f"<|channel|>final <|constrain|>json<|message|>{OSLO}", (), OSLO),
    Case("to the user", f"<|channel|>final to=user<|message|>{OSLO}", (), OSLO),
    Case("no end before the next", f"{FINAL}a{NEXT}{CALL}{OSLO}", [WEATHER], "a"),
    Case(
        "no JSON",
        f"{CALL}Oslo<|call|>{NEXT}{FINAL}Hm.",
        (),
        f"{CALL}Oslo<|call|>\nHm.",
        "no JSON",
    ),
    Case("no object", f"{CALL}[1]", (), f"{CALL}[1]", "no JSON object"),
    Case("cut off", f'{CALL}{{"city": "Os', (), f'{CALL}{{"city": "Os', "no JSON"),
    Case("cut off in the head", CALL[:60], (), CALL[:60], "cut off"),
    Case("cut off in a channel's name", f"{ANALYSIS}{NEXT}<|channel|>fin"),
    Case("text where none belongs", "Oslo <|channel|>final<|message|>Rome", (), "Oslo\nRome"),
    Case("nothing", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_harmony(case: Case) -> None:
    check("openai", case)


@dataclass(frozen=True)
class Told:
    reasoning: str | None
    content: str | None


REASONED = {
    "before the answer": (f"{ANALYSIS}{NEXT}{FINAL}Oslo.", Told("We need it.", "Oslo.")),
    "twice": (f"{ANALYSIS}{NEXT}{ANALYSIS}{NEXT}{FINAL}a", Told("We need it.\nWe need it.", "a")),
    "cut off": ("<|channel|>analysis<|message|>We ne", Told("We ne", None)),
    "empty": ("<|channel|>analysis<|message|><|end|>", Told(None, None)),
    "only white space": (f"<|channel|>analysis<|message|> <|end|>{FINAL}a", Told(None, "a")),
}


@pytest.mark.parametrize(("text", "told"), REASONED.values(), ids=REASONED.keys())
def test_reasoning_is_told_apart_with_and_without_its_parser(text: str, told: Told) -> None:
    alone = tool_parser("openai").parse(text, [])
    assert Told(alone.reasoning, alone.content) == told
    split = reasoning_parser("openai_gptoss").split(text, is_open=None)
    rest = tool_parser("openai").parse(split.content, [])
    assert Told(split.reasoning, rest.content) == told
    assert rest.reasoning is None


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "openai",
        "<|channel|>",
        "<|start|>",
        "<|message|>",
        "<|end|>",
        "to=a ",
        "<|channel|>a",
        f"{CALL}{{",
    )
