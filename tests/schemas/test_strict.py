from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from schemas.strict import StrictModel, by_tag, by_type, checked, supported


class Cat(StrictModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(StrictModel):
    kind: Literal["dog"]


class House(StrictModel):
    pets: list[Annotated[Cat | Dog, by_tag("kind", {"cat": Cat, "dog": Dog})]] = Field(
        default_factory=list
    )
    size: (
        Annotated[
            str | list[int],
            by_type("one of a string or array", {str: checked(str), list: checked(list[int])}),
        ]
        | None
    ) = None
    mood: Annotated[str, supported("calm", "loud")] | None = None


def problem(value: Any) -> tuple[str, tuple[Any, ...]]:
    with pytest.raises(ValidationError) as caught:
        House.model_validate(value)
    (detail,) = caught.value.errors()
    return detail["type"], detail["loc"]


@pytest.mark.parametrize(
    ("value", "kind", "location"),
    [
        ({"pets": [{"kind": "cat", "lives": "9"}]}, "int_type", ("pets", 0, "lives")),
        ({"pets": [{"kind": "cat", "cat": 1}]}, "extra_forbidden", ("pets", 0, "cat")),
        ({"pets": [{"kind": "cow"}]}, "literal_error", ("pets", 0, "kind")),
        ({"pets": [{"kind": ["cat"]}]}, "literal_error", ("pets", 0, "kind")),
        ({"pets": [{}]}, "missing", ("pets", 0, "kind")),
        ({"pets": ["cat"]}, "wrong_type", ("pets", 0)),
        ({"size": 5}, "wrong_type", ("size",)),
        ({"size": [1, "2"]}, "int_type", ("size", 1)),
        ({"mood": "sad"}, "unsupported_value", ("mood",)),
        ({"mood": 1}, "string_type", ("mood",)),
    ],
)
def test_errors_are_at_the_clients_own_places(value, kind, location):
    assert problem(value) == (kind, location)


def test_the_tag_chooses_the_model():
    house = House.model_validate({"pets": [{"kind": "dog"}, {"kind": "cat", "lives": 1}]})
    assert house.pets == [Dog(kind="dog"), Cat(kind="cat", lives=1)]


def test_the_type_chooses_the_validator():
    assert House.model_validate({"size": [1]}).size == [1]
    assert House.model_validate({"size": "s"}).size == "s"
    assert House.model_validate({"size": None}).size is None


def test_what_was_validated_can_be_written_out_again():
    value = {"pets": [{"kind": "cat", "lives": 3}], "size": [1], "mood": "calm"}
    assert House.model_validate(value).model_dump() == value


def test_nothing_is_coerced():
    with pytest.raises(ValidationError):
        checked(int)(True)
    with pytest.raises(ValidationError):
        checked(float)(float("nan"))
    assert checked(float)(1) == 1.0


def test_a_tag_that_is_known_but_not_served_is_not_offered():
    tagged = by_tag("kind", {"cat": Cat, "dog": Dog}, unserved=("dog",))
    validate = checked(Annotated[Any, tagged])
    assert validate({"kind": "dog"}) == Dog(kind="dog")
    with pytest.raises(ValidationError) as caught:
        validate({"kind": "cow"})
    (detail,) = caught.value.errors()
    assert detail["ctx"] == {"expected": "'cat'"}
