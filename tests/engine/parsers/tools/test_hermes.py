import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})
BLOCK = f"<tool_call>\n{WEATHER}\n</tool_call>"

CASES = [
    *standard_cases(lambda calls: "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in calls)),
    Case("on one line", f"<tool_call>{WEATHER}</tool_call>", [TOKYO]),
    Case("text before", f"Let me see.\n{BLOCK}", [TOKYO], "Let me see.\n"),
    Case("text after", f"{BLOCK}\nDone.", [TOKYO], "\nDone."),
    Case("text between", f"a {BLOCK} b {BLOCK} c", [TOKYO, TOKYO], "a  b  c"),
    Case("only white space around", f"\n\n{BLOCK}\n", [TOKYO]),
    Case("no closing tag at the end", f"<tool_call>\n{WEATHER}", [TOKYO]),
    Case("next call without a closing tag", f"<tool_call>{WEATHER}{BLOCK}", [TOKYO, TOKYO]),
    Case(
        "closing tag inside a string",
        f"<tool_call>{call('save', {'t': '</tool_call>'})}</tool_call>",
        [("save", {"t": "</tool_call>"})],
    ),
    Case(
        "opening tag inside a string",
        f"<tool_call>{call('save', {'t': '<tool_call>'})}</tool_call>",
        [("save", {"t": "<tool_call>"})],
    ),
    Case(
        "a bad call keeps its neighbours",
        f"{BLOCK}<tool_call>oops</tool_call>{BLOCK}",
        [TOKYO, TOKYO],
        "<tool_call>oops</tool_call>",
        "JSON object",
    ),
    Case(
        "one brace too many",
        f"<tool_call>{WEATHER}}}</tool_call>",
        (),
        f"<tool_call>{WEATHER}}}</tool_call>",
        "followed by something else",
    ),
    Case("openai's wrapping", '<tool_call>{"type": "function", "function": '
         f"{WEATHER}}}</tool_call>", [TOKYO]),
    Case("a list", f"<tool_call>[{WEATHER}, {WEATHER}]</tool_call>", [TOKYO, TOKYO]),
    Case("an empty block", "<tool_call></tool_call>", (), "<tool_call></tool_call>", "JSON"),
    Case("only the tag", "<tool_call>", (), "<tool_call>", "JSON"),
    Case("a stray closing tag", "done</tool_call>", (), "done</tool_call>"),
    Case(
        "too deep",
        '<tool_call>{"name": "save", "arguments": ' + '{"a":' * 100_000,
        (),
        '<tool_call>{"name": "save", "arguments": ' + '{"a":' * 100_000,
        "",
    ),
    Case(
        "no JSON number",
        '<tool_call>{"name": "save", "arguments": {"a": NaN}}</tool_call>',
        (),
        '<tool_call>{"name": "save", "arguments": {"a": NaN}}</tool_call>',
        "not valid JSON",
    ),
    Case(
        "infinite number",
        '<tool_call>{"name": "save", "arguments": {"a": 1e999}}</tool_call>',
        (),
        '<tool_call>{"name": "save", "arguments": {"a": 1e999}}</tool_call>',
        "not valid JSON",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_hermes(case: Case) -> None:
    check("hermes", case)


def test_arguments_stay_in_utf_8_and_half_surrogates_do_not_break_it() -> None:
    text = '<tool_call>{"name": "save", "arguments": {"a": "é", "b": "\\ud800"}}</tool_call>'
    (found,) = check("hermes", Case("", text, [("save", {"a": "é", "b": "\ud800"})])).calls
    assert found.arguments == '{"a": "é", "b": "\\ud800"}'
    found.arguments.encode()
