from engine.logprobs import LogprobRecord
from engine.request import Request
from engine.step_budget import StepBudget, has_unscored_tokens, scored_positions
from tests.fakes import make_request


def scoring(length: int, first_token: int = 1) -> Request:
    record = LogprobRecord(first_token=first_token, num_top=0)
    return make_request("a", list(range(length)), logprobs=record)


def test_positions_are_scored_whose_next_token_is_known() -> None:
    request = scoring(10)
    assert scored_positions(request, 4) == range(4)
    assert scored_positions(request, 10) == range(9)
    request.num_computed_tokens = 6
    assert scored_positions(request, 8) == range(6, 8)
    assert not scored_positions(make_request("b", [1, 2, 3]), 3)


def test_positions_before_the_first_wanted_token_are_not_scored() -> None:
    request = scoring(10, first_token=8)
    assert not scored_positions(request, 7)
    assert scored_positions(request, 10) == range(7, 9)


def test_a_long_scored_prompt_is_cut_where_the_scores_run_out() -> None:
    budget = StepBudget(num_tokens=100, num_scored=5)
    assert budget.fit(scoring(40), 40) == 5
    assert budget.fit(scoring(40, first_token=21), 40) == 25
    assert budget.fit(scoring(6), 6) == 6  # its last position is sampled, not scored
    assert budget.fit(make_request("b", list(range(40))), 40) == 40
    budget.spend(60, 5)
    assert budget.fit(scoring(40, first_token=21), 40) == 20
    assert budget.fit(scoring(40), 40) == 0


def test_a_request_that_needs_scores_waits_for_them() -> None:
    assert StepBudget(1, 1).can_begin(scoring(4))
    assert not StepBudget(1, 0).can_begin(scoring(4))
    assert StepBudget(1, 0).can_begin(make_request("b", [1]))
    assert not StepBudget(0, 1).can_begin(make_request("b", [1]))


def test_a_request_is_scored_when_all_known_tokens_are() -> None:
    assert has_unscored_tokens(scoring(4))
    assert not has_unscored_tokens(scoring(4, first_token=4))
    assert not has_unscored_tokens(make_request("b", [1, 2]))
