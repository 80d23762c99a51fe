import json
from typing import Any

import pytest

from engine.model.generation import GenerationDefaults
from engine.request import FinishReason
from engine.tokenizer import Tokenizer
from schemas.result import ResultRow
from tests.engine.tiny_tokenizers import tiny_tokenizer
from tests.worker.doubles import fake_translator
from tests.worker.test_translate import held
from worker.answers import AnswerWriter
from worker.job import PreparedCompletion
from worker.sampling import ModelLimits
from worker.translate import Translator

URL = "/v1/completions"


def translator(kind: str) -> Translator:
    fake = fake_translator()
    tokenizer = Tokenizer(tiny_tokenizer(kind))
    limits = ModelLimits(
        max_model_len=256,
        vocab_size=len(tokenizer),
        eos_token_ids=frozenset({4}),
        defaults=GenerationDefaults(),
    )
    for name, value in {
        "tokenizer": tokenizer,
        "limits": limits,
        "answers": AnswerWriter(tokenizer, "me", "fp_fake"),
    }.items():
        object.__setattr__(fake, name, value)
    return fake


def answer(
    made: Translator, outputs: list[list[int]], *, reason: FinishReason, **body: Any
) -> ResultRow:
    job = held({"model": "m", **body}, url=URL)
    made.prepare([job])
    assert isinstance(job.prepared, PreparedCompletion), job.refusal
    for request, output in zip(job.prepared.requests, outputs, strict=True):
        request.finish_reason = reason
        for token in output:
            request.output_token_ids.append(token)
            if request.stop_matcher is not None and request.stop_matcher.append(token):
                request.stop_reason = request.stop_matcher.stop_string
    return made.answer(job)


def texts(row: ResultRow) -> list[str]:
    return [choice["text"] for choice in json.loads(row.response_json or "")["choices"]]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "legacy_llama"])
@pytest.mark.parametrize("echo", [False, True])
def test_a_continuation_keeps_the_space_between_it_and_its_prompt(kind: str, echo: bool) -> None:
    made = translator(kind)
    whole = made.tokenizer.encode_text("hello world, the end")
    place = next(
        i for i, t in enumerate(whole) if made.tokenizer.texts.bytes_of(t).startswith(b" the")
    )
    prompt, output = whole[:place], whole[place:]
    row = answer(made, [output], reason=FinishReason.LENGTH, prompt=prompt, echo=echo)
    assert texts(row) == ["hello world, the end" if echo else " the end"]
    assert row.content == texts(row)[0]
    row = answer(made, [output], reason=FinishReason.STOP, prompt=prompt, stop=["end"])
    assert texts(row) == [" the "]


def test_a_text_that_begins_after_special_tokens_has_no_space_before_it() -> None:
    made = translator("metaspace")
    output = made.tokenizer.encode_text("hello world")
    row = answer(made, [output], reason=FinishReason.LENGTH, prompt=[1])
    assert texts(row) == ["hello world"]


def test_the_token_that_ended_it_is_not_shown_but_counted() -> None:
    made = translator("byte_level")
    output = [*made.tokenizer.encode_text(" world"), 4]
    row = answer(made, [output, output], reason=FinishReason.STOP, prompt="hello", n=2)
    assert texts(row) == [" world", " world"]
    assert row.finish_reason == "stop"
    assert row.completion_tokens == 2 * len(output)
    assert row.prompt_tokens == len(made.tokenizer.encode_text("hello"))
    assert (row.status_code, row.model, row.custom_id) == (200, "m", "mine")


def test_ids_are_the_same_for_a_retry_and_no_chat_s() -> None:
    made = translator("byte_level")
    output = made.tokenizer.encode_text(" world")
    rows = [answer(made, [output], reason=FinishReason.LENGTH, prompt="a") for _ in range(2)]
    ids = {json.loads(row.response_json or "")["id"] for row in rows}
    assert len(ids) == 1
    assert ids.pop().startswith("cmpl-")
