import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

START, END = "<|action_start|><|plugin|>", "<|action_end|>"
WEATHER = call("get_weather", {"city": "Tokyo"}, "parameters")
TOKYO = ("get_weather", {"city": "Tokyo"})

CASES = [
    *standard_cases(
        lambda calls: "".join(f"{START}{one}{END}" for one in calls), key="parameters"
    ),
    Case("lines", f"<|action_start|> <|plugin|>\n{WEATHER}\n{END}", [TOKYO]),
    Case("no end at the end", f"{START}{WEATHER}", [TOKYO]),
    Case("text before", f"Let me see. {START}{WEATHER}{END}", [TOKYO], "Let me see. "),
    Case("text after", f"{START}{WEATHER}{END}ok", [TOKYO], "ok"),
    Case("`arguments` instead", START + call("refresh", {}) + END, [("refresh", {})]),
    Case(
        "no plugin", f"<|action_start|>{WEATHER}{END}", (), f"<|action_start|>{WEATHER}{END}",
        "no call of a plugin",
    ),
    Case(
        "the interpreter", f"<|action_start|><|interpreter|>print(1){END}", (),
        f"<|action_start|><|interpreter|>print(1){END}", "no call of a plugin",
    ),
    Case("only the start", START, (), START, "JSON"),
    Case(
        "a bad one keeps its neighbour", f"{START}no{END}{START}{WEATHER}{END}", [TOKYO],
        f"{START}no{END}", "JSON object",
    ),
    Case("something behind", f"{START}{WEATHER} x{END}", (), f"{START}{WEATHER} x{END}",
         "followed by"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_internlm(case: Case) -> None:
    check("internlm", case)
