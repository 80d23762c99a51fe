"""Training conversations with tools: what a question says and what is called for it."""

import json
import re
from itertools import pairwise
from random import Random
from typing import Any

from engine.demo_model.training.tool_tasks import tool_session


def _turns(count: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Questions and the calls that answer them, of `count` sessions."""
    rng = Random(11)
    turns = []
    for _ in range(count):
        example = tool_session(rng, "single", 4)
        messages = [*example.messages, example.answer]
        for question, answer in pairwise(messages):
            if question["role"] == "user" and answer.get("tool_calls"):
                turns.append((question["content"], answer["tool_calls"]))
    return turns


def _places(question: str, values: list[Any]) -> list[int] | None:
    """Where the values stand, if each is a plain one and stands there once."""
    places = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        found = list(re.finditer(rf"(?<!\w){re.escape(str(value))}(?!\w)", question))
        if len(found) != 1:
            return None
        places.append(found[0].start())
    return places


def test_arguments_stand_in_the_order_of_the_question() -> None:
    seen = 0
    for question, calls in _turns(300):
        places = [_places(question, list(call["function"]["arguments"].values())) for call in calls]
        if None in places:
            continue
        flat = [place for each in places if each for place in each]
        seen += len(flat) > 1
        assert flat == sorted(flat), (question, calls)
    assert seen > 100


def test_every_required_argument_is_given_and_no_other_is_made_up() -> None:
    rng = Random(12)
    seen = 0
    for _ in range(300):
        example = tool_session(rng, "parallel", 4)
        schemas = {t["function"]["name"]: t["function"]["parameters"] for t in example.tools}
        for made in example.answer["tool_calls"]:
            schema, given = schemas[made["function"]["name"]], made["function"]["arguments"]
            assert set(given) <= set(schema["properties"]), json.dumps(schema)
            seen += set(schema.get("required", ())) == set(given)
            assert len(example.answer["tool_calls"]) in (1, 2, 3)
    assert seen > 300
