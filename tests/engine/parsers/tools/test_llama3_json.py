import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"}, "parameters")
TOKYO = ("get_weather", {"city": "Tokyo"})

CASES = [
    *[
        case
        for case in standard_cases("; ".join, key="parameters")
        if case.label != "nameless"  # any JSON object of an answer
    ],
    Case("python tag", f"<|python_tag|>{WEATHER}", [TOKYO]),
    Case("lines", f"{WEATHER}\n{WEATHER}", [TOKYO, TOKYO]),
    Case("semicolons without spaces", f"{WEATHER};{WEATHER}", [TOKYO, TOKYO]),
    Case("`arguments` instead", call("get_weather", {"city": "Tokyo"}), [TOKYO]),
    Case("text around", f"Result: {WEATHER} More?", [TOKYO], "Result:  More?"),
    Case("braces in text", f"{WEATHER} I used {{it}}.", [TOKYO], " I used {it}."),
    Case(
        "other JSON behind", f'{WEATHER} with {{"city": "Tokyo"}}', [TOKYO],
        ' with {"city": "Tokyo"}',
    ),
    Case("an answer that is JSON", '{"city": "Tokyo"}', (), '{"city": "Tokyo"}'),
    Case("an object with a name", '{"name": "Anna"}', (), '{"name": "Anna"}'),
    Case("nameless", '{"parameters": {}}', (), '{"parameters": {}}'),
    Case(
        "a tool without parameters", '{"name": "refresh"}', (), '{"name": "refresh"}',
        "no arguments",
    ),
    Case(
        "cut off outside a call", 'see {"a": {"name": "x", "parameters": {}}', (),
        'see {"a": {"name": "x", "parameters": {}}',
    ),
    Case("the second is cut off", f'{WEATHER}; {{"name": "get_t', [TOKYO], '{"name": "get_t',
         "not complete"),
    Case("a list", f"[{WEATHER}]", [TOKYO]),
    Case("a list on lines", f"\n[\n  {WEATHER},\n  {WEATHER}\n]\n", [TOKYO, TOKYO]),
    Case("a list behind the tag", f"<|python_tag|>[{WEATHER}] Done.", [TOKYO], " Done."),
    Case("a list with a bad call", f'[{WEATHER}, {{"name": "x"}}]', [TOKYO], '{"name": "x"}',
         "no arguments"),
    Case("a list is cut off", f'[{WEATHER}, {{"name": "get_t', [TOKYO], '{"name": "get_t',
         "not complete"),
    Case("another list", '[{"city": "Tokyo"}]', (), '[{"city": "Tokyo"}]'),
    Case("cut off inside the first key", '{"na', (), '{"na', "not complete"),
    Case("cut off inside another key", '{"ci', (), '{"ci'),
    Case("in Python's quotes", "{'name': 'save', 'parameters': {'a': 'b'}}", (),
         "{'name': 'save', 'parameters': {'a': 'b'}}", "not valid JSON"),
    Case("another object in Python's quotes", "{'name': 'Anna'}", (), "{'name': 'Anna'}"),
    Case("a call in code", '<|python_tag|>get_weather.call(city="Paris")', (),
         '<|python_tag|>get_weather.call(city="Paris")', "not valid JSON"),
    Case("a call in code behind a call", f"{WEATHER}<|python_tag|>save(1)", [TOKYO],
         "<|python_tag|>save(1)", "not valid JSON"),
    Case("code for the interpreter", "<|python_tag|>print(1)", (), "<|python_tag|>print(1)"),
    Case(
        "a call inside a call",
        '{"name": "save", "parameters": {"c": {"name": "x", "parameters": {}}}}',
        [("save", {"c": {"name": "x", "parameters": {}}})],
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_llama3_json(case: Case) -> None:
    check("llama3_json", case)


def test_many_open_braces_take_no_time() -> None:
    text = '{"a":' * 20_000
    check("llama3_json", Case("", text, (), text))
    text = "{" * 100_000
    check("llama3_json", Case("", text, (), text))
