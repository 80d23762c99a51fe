"""Outputs that call and think, from a finished request to the row."""

import json
from typing import Any

import pytest

from engine.parsers.answer import AnswerParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from engine.request import FinishReason, Request, RequestStatus
from engine.step import StepPlan, StepResult
from schemas.result import ResultRow
from tests.worker.doubles import EOS, ScriptedExecutor, TextTokenizer, fake_machine, fake_translator
from tests.worker.test_translate import chat, held, prepared
from worker.answers import AnswerWriter
from worker.job import HeldJob

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Tōkyō"}}\n</tool_call>'


def parser(tools: str | None = "hermes", reasoning: str | None = "qwen3") -> AnswerParser:
    tokenizer: Any = TextTokenizer()
    return AnswerParser(
        tokenizer,
        tools=tool_parser(tools) if tools else None,
        reasoning=reasoning_parser(reasoning) if reasoning else None,
    )


def finish(request: Request, text: str, reason: FinishReason = FinishReason.STOP) -> None:
    end = [EOS] if reason is FinishReason.STOP else []
    request.output_token_ids = [*text.encode(), *end]
    request.finish_reason = reason
    request.status = RequestStatus.FINISHED


def answered(
    text: str,
    *,
    reason: FinishReason = FinishReason.STOP,
    using: AnswerParser | None = None,
    idx: int = 7,
    **parameters: Any,
) -> tuple[ResultRow, dict[str, Any]]:
    """The row and the response for an output."""
    parameters = {"tools": [WEATHER], "chat_template_kwargs": {"x": 1}, **parameters}
    job = held(chat(**parameters), idx=idx)
    for request in prepared(job).requests:
        finish(request, text, reason)
    row = writer(using or parser()).answer(job, job.prepared)  # type: ignore[arg-type]
    response: dict[str, Any] = json.loads(row.response_json or "")
    return row, response


def writer(using: AnswerParser) -> AnswerWriter:
    tokenizer: Any = TextTokenizer()
    return AnswerWriter(tokenizer, "me", "fp_fake", using)


def test_a_call_is_a_tool_call_in_row_and_response() -> None:
    row, response = answered(f"<think>hm</think>{CALL}")
    (choice,) = response["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Tōkyō"}
    assert call["id"].startswith("call_")
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning"] == choice["message"]["reasoning_content"] == "hm"
    usage = response["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 2
    assert row.tool_calls is not None
    assert [(cell.id, cell.name) for cell in row.tool_calls] == [(call["id"], "get_weather")]
    assert row.tool_calls[0].arguments == call["function"]["arguments"]
    assert (row.finish_reason, row.content, row.reasoning) == ("tool_calls", None, "hm")
    assert (row.tool_arguments_valid, row.reasoning_tokens) == (True, 2)
    assert (row.status_code, row.error_code, row.error_message) == (200, None, None)


def test_ids_follow_from_the_job_alone() -> None:
    def ids(**parameters: Any) -> list[str]:
        row, _ = answered("</think>" + CALL * 2, **parameters)
        return [cell.id for cell in row.tool_calls or ()]

    assert ids() == ids()
    assert len(set(ids() + ids(idx=8))) == 4
    _, response = answered("</think>" + CALL, n=2)
    calls = [choice["message"]["tool_calls"][0]["id"] for choice in response["choices"]]
    assert len(set(calls)) == 2


def test_text_around_a_call_is_content() -> None:
    row, response = answered(f"</think>Let me see. {CALL} Done.")
    assert row.content == response["choices"][0]["message"]["content"] == "Let me see.  Done."
    assert row.finish_reason == "tool_calls"


def test_a_call_that_is_cut_off_stays_text_and_the_row_says_so() -> None:
    text = CALL[:40]
    row, response = answered(f"<think>hm</think>{text}", reason=FinishReason.LENGTH)
    assert row.error_code == "tool_parse_error"
    assert row.error_message
    assert (row.status_code, row.content, row.finish_reason) == (200, text, "length")
    assert row.tool_calls is None
    assert row.tool_arguments_valid is None
    message = response["choices"][0]["message"]
    assert "tool_calls" not in message
    assert message["content"] == text


def test_a_whole_call_before_the_limit_is_delivered() -> None:
    row, _ = answered(f"</think>{CALL}\nand now", reason=FinishReason.LENGTH)
    assert row.finish_reason == "length"
    assert len(row.tool_calls or ()) == 1


def test_a_call_of_an_undeclared_function_stays_text() -> None:
    text = CALL.replace("get_weather", "fly_home")
    row, _ = answered(f"</think>{text}")
    assert row.content == text
    assert (row.error_code, row.tool_calls) == ("tool_parse_error", None)
    assert "fly_home" in (row.error_message or "")
    assert row.finish_reason == "stop"


def test_arguments_that_do_not_fit_are_delivered_with_the_verdict() -> None:
    row, _ = answered("</think>" + CALL.replace('"Tōkyō"', "5"))
    assert row.tool_arguments_valid is False
    assert len(row.tool_calls or ()) == 1
    assert row.error_code is None


@pytest.mark.parametrize("parameters", [{"tools": None}, {"tool_choice": "none"}])
def test_nothing_is_called_where_nothing_may_be(parameters: dict[str, Any]) -> None:
    row, response = answered(f"</think>{CALL}", **parameters)
    assert row.content == CALL
    assert (row.tool_calls, row.error_code, row.finish_reason) == (None, None, "stop")
    assert "tool_calls" not in response["choices"][0]["message"]


def test_reasoning_is_left_out_when_it_is_not_wanted() -> None:
    row, response = answered("<think>hm</think>Hi", include_reasoning=False)
    assert (row.content, row.reasoning, row.reasoning_tokens) == ("Hi", None, 2)
    assert "reasoning" not in response["choices"][0]["message"]
    assert "reasoning_content" not in response["choices"][0]["message"]


def test_reasoning_that_never_ends_leaves_no_content() -> None:
    row, _ = answered("<think>and then", reason=FinishReason.LENGTH)
    assert (row.content, row.reasoning, row.finish_reason) == (None, "and then", "length")
    assert row.reasoning_tokens == 8


def test_without_parsers_an_output_is_text() -> None:
    row, _ = answered(f"<think>hm</think>{CALL}", using=parser(None, None))
    assert row.content == f"<think>hm</think>{CALL}"
    assert (row.reasoning, row.tool_calls, row.reasoning_tokens) == (None, None, 0)


def test_ids_of_mistral_have_nine_letters() -> None:
    text = '[TOOL_CALLS]get_weather{"city": "x"}'
    row, _ = answered(text, using=parser("mistral", None))
    (cell,) = row.tool_calls or ()
    assert len(cell.id) == 9
    assert cell.id.isalnum()


def test_a_stop_string_ends_the_content_and_not_the_calls() -> None:
    job = held(chat(tools=[WEATHER], stop="END"))
    (request,) = prepared(job).requests
    text = f"<think>hm</think>{CALL} ok END"
    for token in text.encode():
        request.output_token_ids.append(token)
        assert request.stop_matcher is not None
        request.stop_matcher.append(token)
    request.finish_reason, request.stop_reason = FinishReason.STOP, "END"
    assert job.prepared is not None
    row = writer(parser()).answer(job, job.prepared)  # type: ignore[arg-type]
    assert row.content == " ok "
    assert len(row.tool_calls or ()) == 1


def test_a_hostile_schema_costs_the_row_its_verdict_only() -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"$ref": "#"}}}
    row, _ = answered(f"</think>{CALL}", tools=[tool])
    assert row.tool_arguments_valid is None
    assert len(row.tool_calls or ()) == 1


class SayingExecutor(ScriptedExecutor):
    """Answers every request with one text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._answer = [*text.encode(), EOS]
        self._sent: dict[str, int] = {}

    def submit(self, plan: StepPlan) -> StepResult:
        result = super().submit(plan)
        for request_id, tokens in result.token_ids.items():
            position = self._sent.get(request_id, 0)
            tokens[:] = [self._answer[min(position, len(self._answer) - 1)]]
            self._sent[request_id] = position + 1
        return result


async def test_an_engine_that_calls_gives_a_row_that_calls() -> None:
    machine = fake_machine(SayingExecutor(f"<think>hm</think>{CALL}"), max_model_len=512)
    translator = fake_translator(max_model_len=512)
    job: HeldJob = held(chat(tools=[WEATHER], max_tokens=200))
    requests = prepared(job, translator).requests
    machine.engine.start()
    try:
        for request in requests:
            await machine.engine.run(request)
    finally:
        await machine.engine.close()
    assert job.prepared is not None
    row = writer(parser()).answer(job, job.prepared)  # type: ignore[arg-type]
    assert (row.finish_reason, row.reasoning) == ("tool_calls", "hm")
    assert [cell.name for cell in row.tool_calls or ()] == ["get_weather"]
