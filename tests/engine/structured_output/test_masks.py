"""Constrained requests in the real scheduler and core, over an executor that samples by masks."""

import pickle
from typing import Any

import numpy as np
import pytest
import xxhash

from engine.request import FinishReason, Request, SamplingParams, StopMatcher, StopRules
from engine.step import PlanRow, StepPlan, StepResult
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import choice_part, grammar_text, json_part, regex_part
from tests.engine.structured_output.grammars import (
    EOS,
    VOCAB_SIZE,
    bits,
    byte_tokenizer,
    factory,
    ids,
)
from tests.fakes import FakeEngine, FakeExecutor

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 12}, "b": {"enum": ["x", "y", "zebra"]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
JSON = grammar_text(json_part(SCHEMA))


class MaskedExecutor(FakeExecutor):
    """Draws one of the allowed tokens by a hash of the context and the choice."""

    masks: dict[str, set[int]]

    def submit(self, plan: StepPlan) -> StepResult:
        plan = pickle.loads(pickle.dumps(plan))
        sampled = [row.request_id for row in plan.rows if row.logit_positions]
        self.masks = {}
        if plan.masks is not None:
            assert plan.masks.bits.dtype == np.int32
            for index, row in zip(plan.masks.rows.tolist(), plan.masks.bits, strict=True):
                self.masks[sampled[index]] = bits(row)
        return super().submit(plan)

    def _sample(self, plan_row: PlanRow) -> list[int]:
        row = self.rows[plan_row.request_id]
        (position,) = plan_row.logit_positions
        context = [self.slots[self._slot(row, p)] for p in range(position + 1)]
        seed = xxhash.xxh64_intdigest(repr((context, row.choice_index)).encode())
        mask = self.masks.get(plan_row.request_id)
        tokens = sorted(mask) if mask is not None else list(range(VOCAB_SIZE - 100))
        token = tokens[seed % len(tokens)]
        row.token_ids.append(token)
        return [token]


def engine(**settings: Any) -> FakeEngine:
    made = FakeEngine(**{"max_model_len": 1024, "num_blocks": 512, **settings})
    executor = MaskedExecutor(
        made.pool.num_blocks, 4, max_in_flight=settings.get("max_in_flight", 1)
    )
    made.executor = made.core._executor = executor  # type: ignore[assignment]
    return made


def request(name: str, grammar: str | None = JSON, **settings: Any) -> Request:
    prompt = settings.pop("prompt", ids(f"prompt {name}"))
    stop = settings.pop("stop", StopRules(max_tokens=600, eos_token_ids=frozenset({EOS})))
    constraint = None
    if grammar is not None:
        constraint = factory().build(
            grammar, prompt, ThinkingRules(is_off=True), ignores_ends=stop.ignore_eos
        )
    return Request(
        request_id=name,
        prompt_token_ids=prompt,
        sampling=settings.pop("sampling", SamplingParams()),
        stop=stop,
        constraint=constraint,
        **settings,
    )


def text(done: Request) -> str:
    tokens = done.output_token_ids[: -1 if done.ends_with_stop_token else None]
    return byte_tokenizer().decode(tokens, skip_special_tokens=False)


def test_constrained_and_free_requests_share_steps():
    requests = [request(f"r{i}", JSON if i % 2 else None) for i in range(6)]
    for free in requests[::2]:
        free.stop = StopRules(max_tokens=20)
    engine().run_all(*requests)
    for done in requests[1::2]:
        assert done.finish_reason is FinishReason.STOP
        assert done.error is None
        assert text(done).startswith("{")
        assert text(done).endswith("}")
    assert all(done.num_output_tokens == 20 for done in requests[::2])


@pytest.mark.parametrize(
    "settings",
    [
        {"num_blocks": 40, "max_num_seqs": 8},  # preemption
        {"max_num_batched_tokens": 3},  # chunked prompts
        {"max_in_flight": 2},  # a step ahead
    ],
)
def test_answers_do_not_depend_on_how_they_were_scheduled(settings):
    def run(**how: Any) -> dict[str, list[int]]:
        requests = [request(f"r{i}") for i in range(6)]
        made = engine(**how)
        made.run_all(*requests)
        if how.get("num_blocks"):
            assert made.scheduler.num_preemptions > 0
        assert not [done.error for done in requests if done.error]
        return {done.request_id: done.output_token_ids for done in requests}

    assert run(**settings) == run()


def test_a_step_that_fails_leaves_matchers_where_outputs_are():
    made = engine()
    requests = [request(f"r{i}") for i in range(4)]
    for one in requests:
        made.core.add(one)
    for _ in range(3):
        made.core.step()
    made.executor.failing = {"r2"}
    while made.core.has_work:
        made.core.step()
    assert requests[2].finish_reason is FinishReason.ERROR
    assert not requests[2].is_refused
    whole = [request(f"r{i}") for i in range(4)]
    engine().run_all(*whole)
    for index in (0, 1, 3):
        assert requests[index].output_token_ids == whole[index].output_token_ids


def test_a_request_resumed_from_its_tokens_goes_on_as_it_would_have():
    whole = request("r")
    engine().run_all(whole)
    resumed = request("r")
    resumed.output_token_ids = whole.output_token_ids[:7]
    assert resumed.constraint is not None
    for token_id in resumed.output_token_ids:
        resumed.constraint.append(token_id)
    engine().run_all(resumed)
    assert resumed.output_token_ids == whole.output_token_ids


def test_choices_of_one_prompt_have_matchers_of_their_own():
    prompt = ids("one prompt for all")
    requests = [
        request(f"r{i}", prompt=prompt, choice_index=i, fork_of="r0" if i else None)
        for i in range(4)
    ]
    engine().run_all(*requests)
    assert len({text(done) for done in requests}) > 1
    assert all(text(done).endswith("}") for done in requests)


def test_min_tokens_bans_the_end_while_the_grammar_can_go_on():
    stop = StopRules(max_tokens=60, min_tokens=40, eos_token_ids=frozenset({EOS}))
    sampling = SamplingParams(min_tokens=40, banned_token_ids=(EOS,))
    done = request("r", grammar_text(regex_part("[ab]+")), stop=stop, sampling=sampling)
    engine().run_all(done)
    assert done.num_output_tokens >= 40
    assert EOS not in done.output_token_ids[:40]


def test_a_complete_answer_ends_even_before_min_tokens():
    stop = StopRules(max_tokens=60, min_tokens=40, eos_token_ids=frozenset({EOS}))
    sampling = SamplingParams(min_tokens=40, banned_token_ids=(EOS,))
    done = request("r", grammar_text(choice_part(["yes"])), stop=stop, sampling=sampling)
    engine().run_all(done)
    assert (text(done), done.finish_reason) == ("yes", FinishReason.STOP)
    assert not done.ends_with_stop_token


def test_an_answer_that_is_complete_at_its_limit_has_stopped():
    free = request("r", grammar_text(choice_part(["yes"])))
    engine().run_all(free)
    limited = request(
        "r", grammar_text(choice_part(["yes"])), stop=StopRules(max_tokens=free.num_output_tokens)
    )
    engine().run_all(limited)
    assert (text(limited), limited.finish_reason) == ("yes", FinishReason.STOP)


def test_with_ignore_eos_only_the_grammar_ends_the_answer():
    stop = StopRules(max_tokens=300, eos_token_ids=frozenset({EOS}), ignore_eos=True)
    done = request("r", grammar_text(regex_part("[ab]{1,30}")), stop=stop)
    engine().run_all(done)
    assert EOS not in done.output_token_ids
    assert len(text(done)) == 30


def test_a_stop_string_goes_before_the_grammar():
    class Stops(StopMatcher):
        text = ""
        stop_string = None

        def append(self, token_id: int) -> bool:
            self.text += byte_tokenizer().decode([token_id])
            self.stop_string = '"a"' if '"a"' in self.text else None
            return self.stop_string is not None

    done = request("r", stop_matcher=Stops())
    engine().run_all(done)
    assert (done.finish_reason, done.stop_reason) == (FinishReason.STOP, '"a"')


def test_a_request_without_any_token_left_is_refused_alone():
    sampling = SamplingParams(min_tokens=9, banned_token_ids=tuple(range(VOCAB_SIZE)))
    bad = request("bad", sampling=sampling)
    good = request("good")
    engine().run_all(bad, good)
    assert bad.finish_reason is FinishReason.ERROR
    assert bad.is_refused
    assert bad.error is not None
    assert "No token can come next" in bad.error
    assert good.finish_reason is FinishReason.STOP


def test_a_constraint_that_raises_costs_its_own_request():
    class Broken:
        error = None
        num_words = 13

        def append(self, token_id: int) -> bool:
            return False

        def fill(self, row: Any, banned: Any) -> bool:
            raise ValueError("a bug of ours")

    bad = request("bad", grammar=None)
    bad.constraint = Broken()
    good = request("good")
    engine().run_all(bad, good)
    assert bad.finish_reason is FinishReason.ERROR
    assert not bad.is_refused
    assert good.finish_reason is FinishReason.STOP
