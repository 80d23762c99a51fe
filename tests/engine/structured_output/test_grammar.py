from engine.structured_output.grammar import (
    choice_part,
    grammar_problem,
    grammar_text,
    json_part,
    regex_part,
)


def test_what_the_library_can_enforce_has_no_problem() -> None:
    for part in (
        json_part({"type": "object", "properties": {"a": {"type": "string"}}}),
        regex_part("[a-z]+"),
        choice_part(["yes", "no"]),
    ):
        assert grammar_problem(grammar_text(part)) is None


def test_what_it_cannot_is_said_without_knowing_the_tokens() -> None:
    text = grammar_text(json_part({"type": "array", "uniqueItems": True}))
    assert "uniqueItems" in str(grammar_problem(text))
    assert grammar_problem("no grammar at all") is not None
