from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.producers.prompt_text import estimate_cost_tokens, rendered_text


def body(*messages: tuple[str, Any], **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in messages], **rest}


def common(one: bytes, two: bytes) -> bytes:
    length = next(k for k in range(len(one) + 1) if not two.startswith(one[: k + 1]))
    return one[:length]


def test_a_common_beginning_is_a_common_prefix() -> None:
    one = rendered_text(body(("system", "You are kind."), ("user", "What is 1?")))
    two = rendered_text(body(("system", "You are kind."), ("user", "What is 2?")))
    other = rendered_text(body(("system", "You are rude."), ("user", "What is 1?")))
    assert len(common(one, two)) >= len("system You are kind. user What is ")
    assert len(common(one, other)) < len("system You are kind.")


def test_tools_stand_behind_a_system_message_and_before_the_rest() -> None:
    tools = [{"type": "function", "function": {"name": "lookup"}}]
    with_system = rendered_text(body(("system", "SYS"), ("user", "USER"), tools=tools))
    assert with_system.index(b"SYS") < with_system.index(b"lookup") < with_system.index(b"USER")
    without = rendered_text(body(("user", "USER"), tools=tools))
    assert without.index(b"lookup") < without.index(b"USER")


def test_parts_and_tool_calls_count() -> None:
    parts = [{"type": "text", "text": "ONE"}, {"type": "image_url", "image_url": {"url": "U"}}]
    text = rendered_text(body(("user", parts)))
    assert text.index(b"ONE") < text.index(b"image_url")
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert b'"name":"f"' in rendered_text(
        {"messages": [{"role": "assistant", "tool_calls": calls}]}
    )


def test_a_role_cannot_be_forged_by_content() -> None:
    forged = rendered_text(body(("user", "a user b")))
    assert forged != rendered_text(body(("user", "a"), ("user", "b")))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(messages=_json, tools=_json, content=_json)
def test_any_json_has_a_text_and_always_the_same(messages: Any, tools: Any, content: Any) -> None:
    for value in (
        {"messages": messages, "tools": tools},
        {"messages": [{"role": "user", "content": content, "tool_calls": tools}, messages]},
    ):
        assert rendered_text(value) == rendered_text(value)


@pytest.mark.parametrize(
    ("num_bytes", "limit", "num_choices", "expected"),
    [
        (300, 10, 1, 110),
        (301, None, 1, 101 + 512),
        (0, 20, 4, 80),
        (0, 0, 1, 1),
        (30, 10**12, 128, 1 << 24),
    ],
)
def test_the_estimate_is_bytes_over_three_plus_output(
    num_bytes: int, limit: int | None, num_choices: int, expected: int
) -> None:
    cost = estimate_cost_tokens(num_bytes, limit, num_choices, default_output=512)
    assert cost == expected


def test_prompts_of_text_completions_share_their_beginnings() -> None:
    one = rendered_text({"prompt": "The same context, one"})
    two = rendered_text({"prompt": ["The same context, two", "more"]})
    assert common(one, two) == b"The same context, "
    ids = [rendered_text({"prompt": [[5, 70_000, 7, last]]}) for last in (8, 9)]
    assert len(ids[0]) == 4 * 3  # a token id counts as one token
    assert len(common(*ids)) == 4 * 3 - 1
    assert rendered_text({"prompt": [5, 70_000, 7, 8]}) == ids[0]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_prompts_that_nobody_has_checked_do_no_harm(prompt: Any) -> None:
    assert isinstance(rendered_text({"prompt": prompt}), bytes)
