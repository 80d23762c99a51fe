from jobs.tables.answer_types import answer_type
from jobs.tables.answers import parse_answers

KIND = answer_type({"type": "object", "properties": {"n": {"type": "integer"}}})


def test_answers_become_values() -> None:
    parsed = parse_answers(['{"n": 1}', None, ' {"n": null, "x": 2}\n', "{}"], KIND)
    assert parsed.values.to_pylist() == [{"n": 1}, None, {"n": None}, {"n": None}]
    assert parsed.problems == {}


def test_an_answer_without_a_value_is_a_problem_of_its_own() -> None:
    texts = ['{"n": 1}', '{"n": ', "[1]", '{"n": "x"}', f'{{"n": {2**70}}}', '{"n": 2}']
    parsed = parse_answers(texts, KIND)
    assert parsed.values.to_pylist() == [{"n": 1}, None, None, None, None, {"n": 2}]
    assert sorted(parsed.problems) == [1, 2, 3, 4]
    assert parsed.problems[1].startswith("The answer is not JSON: ")
    assert parsed.problems[2] == "The answer does not fit its schema: [1] is not an object."
    assert parsed.problems[3].startswith("The answer does not fit its schema: ")


def test_no_answers_are_an_empty_column() -> None:
    parsed = parse_answers([], KIND)
    assert len(parsed.values) == 0
    assert parsed.values.type == KIND.arrow
