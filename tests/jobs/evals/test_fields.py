"""Rows of any shape."""

import pytest

from jobs.evals.fields import FieldMap

ROW = {"q": "Why?", "a": "so", "n": 3, "opts": ["x", "y"]}


def test_fields_are_named_or_written_as_templates() -> None:
    fields = FieldMap(
        {"input": "Q: {{ q }}\n", "target": "a", "choices": "opts", "id": "n", "tags": ["n"]}
    )
    assert fields.apply(ROW) == {
        "input": "Q: Why?\n",
        "target": "so",
        "choices": ["x", "y"],
        "id": 3,
        "tags": {"n": "3"},
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": "q"}, "'fields.question' is unknown"),
        ({"input": 3}, "'fields.input' is 3"),
        ({"input": "{{ q"}, "'fields.input' is no template"),
        ({"input": "{{ missing }}"}, "'fields.input' cannot be filled in: 'missing' is undefined"),
        ({"target": "missing"}, "no field 'missing', which 'fields.target' names"),
        ({"tags": "missing"}, "no field 'missing'"),
        ({"input": "{{ q.__class__.__mro__ }}"}, "cannot be filled in"),
    ],
)
def test_what_cannot_be_found_is_named(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FieldMap(fields).apply(ROW)
