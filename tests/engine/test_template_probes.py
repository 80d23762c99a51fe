"""What templates leave out, found out by samples."""

import pytest

from engine.errors import RequestError
from engine.template_calls import CallForm
from engine.template_probes import TemplateProbes


def probes(render):
    """With a render function of messages, tools and documents; counts its calls."""
    seen = []

    def counted(messages, tools, documents):
        seen.append(messages)
        return render(messages, tools, documents)

    return TemplateProbes(counted, counted), seen


def raising(*_):
    raise RequestError("no")


def test_each_question_is_asked_once():
    asked, seen = probes(lambda messages, *_: str(messages))
    for _ in range(2):
        assert asked.drops_tools(has_system=False)
        assert not asked.drops_system
        assert asked.drops_documents
        form = asked.call_form(has_tools=False)
        assert form == CallForm(has_text_arguments=True), "Python's spelling is no call"
    assert len(seen) == 1 + 1 + 1 + 4 + 1


def test_parts_are_wanted_where_a_text_is_shown_in_no_other_form():
    def render(messages, *_):
        shown = [part for part in messages[-1]["content"] if isinstance(part, dict)]
        return str(shown) if messages[-1]["role"] == "user" else str(messages)

    asked, seen = probes(render)
    for _ in range(2):
        assert asked.wants_parts("user")
        assert asked.wants_parts("tool"), "other roles are treated like users"
        assert not asked.wants_parts("assistant")
    assert len(seen) == 2 + 2
    assert not probes(raising)[0].wants_parts("user")
    assert not probes(lambda *_: "")[0].wants_parts("user")


def test_a_template_that_refuses_the_samples_is_left_to_speak_for_itself():
    asked, _ = probes(raising)
    assert not asked.drops_system
    assert not asked.drops_documents
    assert not asked.drops_tools(has_system=True)
    assert asked.call_form(has_tools=True) == CallForm()


def test_tools_that_need_a_system_message_are_dropped_without_one():
    asked, _ = probes(lambda messages, tools, _: str(tools) if len(messages) == 2 else "")
    assert not asked.drops_tools(has_system=True)
    assert asked.drops_tools(has_system=False)


@pytest.mark.parametrize("has_text", [False, True])
@pytest.mark.parametrize("has_null", [False, True])
def test_the_first_form_that_shows_a_call_is_taken(has_text, has_null):
    def render(messages, tools, _):
        message = messages[1]
        if (message["content"] is None) != has_null:
            return "answer"
        arguments = message["tool_calls"][0]["function"]["arguments"]
        return "call " + (arguments if has_text else arguments["x"])

    def strict(messages, tools, documents):
        try:
            return render(messages, tools, documents)
        except TypeError as error:
            raise RequestError(str(error)) from error

    asked, _ = probes(strict)
    form = CallForm(
        has_text_arguments=has_text, has_null_content=has_null, has_own_content=has_null
    )
    assert asked.call_form(has_tools=True) == form
