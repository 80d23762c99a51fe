"""Constrained requests that an earlier worker began."""

from engine.request import FinishReason
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import choice_part, grammar_text
from schemas.completions import parse_completion_request
from tests.engine.structured_output.grammars import allowed, factory, ids
from tests.worker.doubles import TextTokenizer, fake_translator
from tests.worker.test_translate import chat, held
from worker.handover import ChoiceProgress
from worker.request_maker import PromptTask, RequestMaker


def make(*progress: ChoiceProgress):
    grammar = grammar_text(choice_part(["yes", "no"]))
    task = PromptTask(
        fields=parse_completion_request({"model": "m", "prompt": "x", "n": len(progress)}),
        prompt=[5, 6, 7],
        param="prompt",
        seed=3,
        progress=progress,
        new_constraint=lambda: factory().build(grammar, [], ThinkingRules(is_off=True)),
    )
    maker = RequestMaker(tokenizer=TextTokenizer(), limits=fake_translator().limits)  # type: ignore[arg-type]
    return maker.make(held(chat()), task)


def test_a_constraint_stands_where_the_handed_over_tokens_stand() -> None:
    begun = ids("ye")
    first, second = make(
        ChoiceProgress(output_token_ids=begun), ChoiceProgress(output_token_ids=[])
    )
    assert first.output_token_ids == begun
    assert allowed(first.constraint) == {ids("s")[0]}
    assert allowed(second.constraint) > allowed(first.constraint) - {ids("s")[0]}
    assert ids("n")[0] in (allowed(second.constraint) or ())


def test_tokens_that_do_not_fit_are_left_and_the_request_starts_again() -> None:
    (request,) = make(ChoiceProgress(output_token_ids=ids("maybe")))
    assert request.output_token_ids == []
    assert request.constraint is not None
    assert request.constraint.error is None
    assert ids("y")[0] in (allowed(request.constraint) or ())


def test_a_choice_that_had_ended_keeps_its_last_token() -> None:
    done = ChoiceProgress(output_token_ids=ids("yes"), finish_reason=FinishReason.STOP)
    (request,) = make(done)
    assert request.is_finished
    assert not request.ends_with_stop_token
