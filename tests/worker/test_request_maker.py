from dataclasses import replace

import pytest

from engine.detokenizer import MessageHeads
from engine.request import FinishReason, RequestStatus
from schemas.completions import parse_completion_request
from schemas.errors import ApiError
from tests.worker.doubles import TextTokenizer, fake_translator
from tests.worker.test_translate import chat, held
from worker.handover import ChoiceProgress
from worker.request_maker import PromptTask, RequestMaker, WantedLogprobs


def make(task: PromptTask):
    maker = RequestMaker(tokenizer=TextTokenizer(), limits=fake_translator().limits)  # type: ignore[arg-type]
    return maker.make(held(chat()), task)


def task(wanted: WantedLogprobs | None = None, **parameters) -> PromptTask:
    fields = parse_completion_request({"model": "m", "prompt": "x", **parameters})
    return PromptTask(fields=fields, prompt=[5, 6, 7], param="prompt", seed=3, logprobs=wanted)


def test_only_the_first_choice_scores_the_prompt() -> None:
    wanted = WantedLogprobs(num_top=4, of_output=True, prompt_from=1)
    records = [request.logprobs for request in make(task(wanted, n=3))]
    assert [record.first_token for record in records if record is not None] == [1, 3, 3]
    wanted = WantedLogprobs(num_top=4, of_output=False, prompt_from=2)
    records = [request.logprobs for request in make(task(wanted, n=2))]
    assert records[0] is not None
    assert records[0].first_token == 2
    assert records[1] is None
    assert all(request.logprobs is None for request in make(task(n=2)))


def test_a_start_beyond_the_prompt_scores_none_of_it() -> None:
    wanted = WantedLogprobs(num_top=0, of_output=True, prompt_from=99)
    (request,) = make(task(wanted))
    assert request.logprobs is not None
    assert request.logprobs.first_token == 3


def test_nothing_to_generate_and_nothing_to_score_has_ended() -> None:
    (request,) = make(task(max_tokens=0, echo=True))
    assert (request.status, request.finish_reason) == (
        RequestStatus.FINISHED,
        FinishReason.LENGTH,
    )
    (request,) = make(
        task(WantedLogprobs(num_top=0, of_output=True, prompt_from=1), max_tokens=0, echo=True)
    )
    assert request.status is RequestStatus.WAITING


def test_prompts_of_one_job_have_ids_of_their_own() -> None:
    first, second = task(n=2), task(n=2)
    object.__setattr__(second, "first_index", 2)
    requests = [*make(first), *make(second)]
    assert len({request.request_id for request in requests}) == 4
    assert requests[3].fork_of == requests[2].request_id
    assert [request.choice_index for request in requests] == [0, 1, 0, 1]


def test_tokens_are_handed_over_unless_their_log_probabilities_are_wanted() -> None:
    progress = [ChoiceProgress(output_token_ids=[1, 2])]
    plain, wanting = task(), task(WantedLogprobs(num_top=0, of_output=True))
    for each in (plain, wanting):
        object.__setattr__(each, "progress", progress)
    assert make(plain)[0].output_token_ids == [1, 2]
    assert make(wanting)[0].output_token_ids == []


def test_tokens_that_only_the_tokenizer_knows_are_refused() -> None:
    """In a step, one of them would fail all requests."""
    limits = replace(fake_translator().limits, vocab_size=97)
    maker = RequestMaker(tokenizer=TextTokenizer(), limits=limits)  # type: ignore[arg-type]
    assert maker.make(held(chat()), replace(task(), prompt=[96]))
    with pytest.raises(
        ApiError, match="'a', for which this model's tokenizer has the id 97"
    ) as got:
        maker.make(held(chat()), replace(task(), prompt=[5, 97, 7]))
    assert (got.value.status_code, got.value.param) == (400, "prompt")
    assert got.value.code == "invalid_value"


def test_stop_strings_are_looked_for_in_texts_of_messages_only() -> None:
    heads = MessageHeads(ord("M"), frozenset([6]))
    spoken = replace(task(stop=["abc"]), heads=heads, prompt=[5, 6, 7])
    (request,) = make(spoken)
    (other,) = make(replace(spoken, heads=None))
    assert request.stop_matcher is not None
    assert other.stop_matcher is not None
    found = [request.stop_matcher.append(token_id) for token_id in b"abcMabc"]
    assert found == [False] * 6 + [True]
    assert [other.stop_matcher.append(token_id) for token_id in b"abc"] == [False, False, True]
