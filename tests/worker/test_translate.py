import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.model.generation import GenerationDefaults
from engine.request import FinishReason, RequestStatus
from jobs.blobs import open_blobs
from jobs.bodies import INLINE_BYTES, Bodies
from jobs.queue import Lease, NewJob
from schemas.result import ResultRow
from tests.worker.doubles import EOS, fake_translator
from worker.handover import encode_progress
from worker.job import HeldJob, PreparedJob
from worker.translate import Translator


def held(
    body: dict[str, Any] | bytes,
    *,
    idx: int = 7,
    tenant: str = "default",
    progress: bytes = b"",
    url: str = "/v1/chat/completions",
) -> HeldJob:
    lease = Lease(
        batch_id="batch",
        model="m",
        entry_id="1-7",
        attempt=2,
        idx=idx,
        custom_id="mine",
        url=url,
        cost_tokens=10,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        enqueued_ms=1_700_000_000_000,
        progress=progress,
        fence=3,
    )
    return HeldJob(lease=lease, leased_s=0.0, queue_s=1.5, tenant=tenant)


def chat(text: str = "hi", **parameters: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **parameters}


def prepared(job: HeldJob, translator: Translator | None = None) -> PreparedJob:
    (translator or fake_translator()).prepare([job])
    assert isinstance(job.prepared, PreparedJob), job.refusal
    return job.prepared


def refused(job: HeldJob, translator: Translator | None = None) -> ResultRow:
    (translator or fake_translator()).prepare([job])
    assert job.refusal is not None
    assert job.prepared is None
    return job.refusal


def test_a_request_becomes_prompt_tokens_and_limits() -> None:
    (request,) = prepared(held(chat(max_tokens=5, temperature=0, stop_token_ids=[9]))).requests
    assert bytes(request.prompt_token_ids) == b"user: hi\nassistant: "
    assert request.stop.max_tokens == 5
    assert request.stop.eos_token_ids == {EOS}
    assert request.stop.stop_token_ids == {9}
    assert request.sampling.temperature == 0


def test_choices_are_forks_of_the_first() -> None:
    requests = prepared(held(chat(n=3, max_tokens=5))).requests
    assert [request.choice_index for request in requests] == [0, 1, 2]
    assert requests[0].fork_of is None
    assert {request.fork_of for request in requests[1:]} == {requests[0].request_id}
    assert len({request.request_id for request in requests}) == 3
    assert len({request.sampling.seed for request in requests}) == 1


def test_a_redelivery_has_other_request_ids() -> None:
    first = held(chat())
    second = held(chat())
    object.__setattr__(second.lease, "fence", 4)
    assert prepared(first).requests[0].request_id != prepared(second).requests[0].request_id


@pytest.mark.parametrize(
    "limit", [{}, {"max_tokens": 60}, {"max_tokens": 65}, {"max_completion_tokens": 10**9}]
)
def test_the_output_limit_is_clamped_to_the_context(limit: dict[str, int]) -> None:
    translator = fake_translator(max_model_len=64)
    (request,) = prepared(held(chat(**limit)), translator).requests
    assert request.stop.max_tokens == 64 - len(request.prompt_token_ids)


def test_max_completion_tokens_wins() -> None:
    (request,) = prepared(held(chat(max_tokens=50, max_completion_tokens=3))).requests
    assert request.stop.max_tokens == 3


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    row = refused(held(chat("x" * 300)))
    assert (row.status_code, row.error_code) == (400, "context_length_exceeded")
    body = json.loads(row.response_json or "")
    assert body["error"]["param"] == "messages"
    assert "256" in body["error"]["message"]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"logit_bias": {"256": 1}}, "logit_bias"),
        ({"stop_token_ids": [999]}, "stop_token_ids"),
        ({"temperature": 99}, "temperature"),
        ({"zzz": 1}, "zzz"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_bad_parameters_are_refused_by_name(parameters: dict[str, Any], param: str) -> None:
    row = refused(held(chat(**parameters)))
    assert row.status_code == 400
    assert json.loads(row.response_json or "")["error"]["param"] == param


def test_a_template_that_raises_is_the_request_s_fault() -> None:
    row = refused(held(chat("BOOM")))
    assert row.status_code == 400
    assert row.request_hash is not None


def test_a_bug_of_ours_is_a_500_row_and_not_a_crash() -> None:
    row = refused(held(chat("BUG")))
    assert (row.status_code, row.error_code) == (500, "internal_error")


def test_a_body_that_is_no_json_is_refused() -> None:
    assert refused(held(b"{")).status_code == 400
    assert refused(held(b"[]")).status_code == 400


def test_another_endpoint_is_refused_by_name() -> None:
    row = refused(held(chat(), url="/v1/embeddings"))
    assert row.status_code == 400
    assert "/v1/embeddings" in (row.error_message or "")


def test_defaults_are_the_request_s_then_the_checkpoint_s_then_openai_s() -> None:
    defaults = GenerationDefaults(temperature=0.6, top_k=20, max_new_tokens=11)
    translator = fake_translator(defaults=defaults)
    (request,) = prepared(held(chat(temperature=0.2)), translator).requests
    assert request.sampling.temperature == 0.2
    assert request.sampling.top_k == 20
    assert request.sampling.top_p == 1.0
    assert request.stop.max_tokens == 11
    (request,) = prepared(held(chat(top_k=-1)), translator).requests
    assert request.sampling.top_k == 0


def test_min_tokens_ban_what_would_end_the_answer() -> None:
    (request,) = prepared(held(chat(min_tokens=2, max_tokens=9, stop_token_ids=[5]))).requests
    assert request.sampling.banned_token_ids == (EOS, 5)
    (request,) = prepared(held(chat(min_tokens=2, max_tokens=9, ignore_eos=True))).requests
    assert request.sampling.banned_token_ids == ()
    (request,) = prepared(held(chat(max_tokens=9))).requests
    assert request.sampling.banned_token_ids == ()


def test_seeds_are_the_request_s_or_follow_from_request_and_line() -> None:
    def seed(job: HeldJob, process_seed: int = 0) -> int:
        return prepared(job, fake_translator(seed=process_seed)).requests[0].sampling.seed

    assert seed(held(chat(seed=5))) == 5
    assert seed(held(chat(seed=-1))) == 2**64 - 1
    own = seed(held(chat()))
    assert own == seed(held(chat()))
    assert own != seed(held(chat(), idx=8))
    assert own != seed(held(chat("other")))
    assert own != seed(held(chat()), process_seed=1)


def test_tenants_do_not_share_the_prefix_cache() -> None:
    assert prepared(held(chat(), tenant="a")).requests[0].cache_salt == "a"
    assert prepared(held(chat())).requests[0].cache_salt == ""


def test_a_client_s_salt_narrows_its_tenant_s() -> None:
    pairs = [("a", None), ("a", "b"), ("a", "c"), ("b", "b"), ("default", "b"), ("a:b", None)]
    pairs += [("a", "b:1"), ("a:b", "1")]
    salts = [
        prepared(held(chat(cache_salt=salt), tenant=tenant)).requests[0].cache_salt
        for tenant, salt in pairs
    ]
    assert len(set(salts)) == len(pairs)


@pytest.mark.parametrize(("asked", "given"), [(None, 0), (-5, 0), (0, 0), (3, 3)])
def test_a_client_s_priority_only_lowers(asked: int | None, given: int) -> None:
    assert prepared(held(chat(priority=asked))).requests[0].priority == given


def test_jobs_are_started_in_the_order_of_their_prompts() -> None:
    jobs = [held(chat(text)) for text in ("b2", "a1", "BOOM", "b1", "a2")]
    ordered = fake_translator().prepare(jobs)
    texts = [json.loads(job.lease.body)["messages"][0]["content"] for job in ordered]
    assert [text for text in texts if text != "BOOM"] == ["a1", "a2", "b1", "b2"]
    assert len(ordered) == 5


def finish(job: HeldJob, *outputs: bytes, reason: FinishReason = FinishReason.STOP) -> ResultRow:
    translator = fake_translator()
    requests = prepared(job, translator).requests
    for request, output in zip(requests, outputs, strict=True):
        for token in output:
            request.output_token_ids.append(token)
            if request.stop_matcher is not None and request.stop_matcher.append(token):
                request.stop_reason = request.stop_matcher.stop_string
        request.finish_reason = reason
        request.num_cached_tokens = 16
    return translator.answer(job)


def test_an_answer_is_a_chat_completion() -> None:
    row = finish(held(chat(n=2)), b"one\0", b"three\0")
    body = json.loads(row.response_json or "")
    assert body["object"] == "chat.completion"
    assert body["created"] == 1_700_000_000
    assert body["model"] == "m"
    assert [choice["message"]["content"] for choice in body["choices"]] == ["one", "three"]
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "stop"]
    prompt_tokens = len(b"user: hi\nassistant: ")
    assert body["usage"]["prompt_tokens"] == prompt_tokens
    assert body["usage"]["completion_tokens"] == 4 + 6
    assert body["usage"]["total_tokens"] == prompt_tokens + 10
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 16
    assert body["system_fingerprint"] == "fp_fake"
    assert (row.status_code, row.content, row.finish_reason) == (200, "one", "stop")
    assert (row.attempt, row.worker, row.queue_s) == (2, "me", 1.5)
    assert row.completion_tokens == 10


def test_ids_are_the_same_for_a_retry() -> None:
    ids = {
        json.loads(finish(held(chat()), output).response_json or "")["id"]
        for output in (b"a\0", b"b\0")
    }
    assert len(ids) == 1
    other = json.loads(finish(held(chat(), idx=8), b"a\0").response_json or "")["id"]
    assert other not in ids


def test_a_stop_string_is_cut_off_unless_asked_for() -> None:
    row = finish(held(chat(stop="END")), b"textEND")
    assert row.content == "text"
    assert json.loads(row.response_json or "")["choices"][0]["stop_reason"] == "END"
    row = finish(held(chat(stop="END", include_stop_str_in_output=True)), b"textEND")
    assert row.content == "textEND"


def test_a_length_limit_keeps_the_last_token() -> None:
    row = finish(held(chat()), b"abc", reason=FinishReason.LENGTH)
    assert (row.content, row.finish_reason) == ("abc", "length")


def test_special_tokens_are_shown_on_request() -> None:
    assert finish(held(chat()), b"a\0b\0").content == "ab"
    assert finish(held(chat(skip_special_tokens=False)), b"a\0b\0").content == "a\0b"


def test_the_request_hash_depends_on_the_body_and_the_engine() -> None:
    def digest(job: HeldJob, identity: str = "identity") -> str:
        return prepared(job, fake_translator(identity=identity)).request_hash

    assert digest(held(chat(seed=1, n=1))) == digest(held(chat(n=1, seed=1)))
    assert digest(held(chat())) != digest(held(chat("other")))
    assert digest(held(chat())) != digest(held(chat()), identity="another model")


def test_handed_over_tokens_are_continued() -> None:
    giver = prepared(held(chat(n=2, stop=["zz"], max_tokens=20))).requests
    giver[0].output_token_ids = list(b"abc")
    giver[1].output_token_ids = list(b"xzz")
    giver[1].finish_reason = FinishReason.STOP
    giver[1].stop_reason = "zz"
    progress = encode_progress("identity", giver)

    taker = prepared(held(chat(n=2, stop=["zz"], max_tokens=20), progress=progress)).requests

    assert taker[0].output_token_ids == list(b"abc")
    assert taker[0].status is RequestStatus.WAITING
    assert taker[0].stop_matcher is not None
    assert taker[0].stop_matcher.text == "abc"
    assert taker[1].status is RequestStatus.FINISHED
    assert taker[1].stop_reason == "zz"


def test_tokens_of_another_engine_are_not_continued() -> None:
    giver = prepared(held(chat())).requests
    giver[0].output_token_ids = list(b"abc")
    progress = encode_progress("another", giver)
    assert prepared(held(chat(), progress=progress)).requests[0].output_token_ids == []


def _job(body: bytes) -> NewJob:
    return NewJob(
        idx=7, custom_id="mine", model="m", url="/v1/chat/completions", cost_tokens=1, body=body
    )


async def test_a_request_that_lies_elsewhere_is_fetched(tmp_path: Path) -> None:
    bodies = Bodies(open_blobs(str(tmp_path)))
    body = json.dumps(chat("hi", metadata={"k": "v"}, user="x" * INLINE_BYTES)).encode()
    (sent,) = await bodies.outside("batch", [_job(body)])
    assert isinstance(sent, NewJob)
    translator = replace(fake_translator(), bodies=bodies)
    (request,) = prepared(held(sent.body), translator).requests
    assert bytes(request.prompt_token_ids) == b"user: hi\nassistant: "
    refusal = refused(held(sent.body))
    assert refusal.status_code == 500, "another worker may know the place"
    assert "--blobs" in (refusal.error_message or "")
    bodies.drop("batch", ())
    refusal = refused(held(sent.body), translator)
    assert refusal.status_code == 500
    assert "cannot be fetched" in (refusal.error_message or "")
