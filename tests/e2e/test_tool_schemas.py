"""Tools of real-world shape, called by a model of random weights: every call is valid."""

import pytest

from tests.e2e.tool_schema_run import run_tools


@pytest.mark.timeout(240)
def test_calls_that_are_demanded_are_valid() -> None:
    outcome = run_tools(60, seeds=[0], max_tokens=400)
    assert not outcome.invalid
    assert not outcome.refused
    assert outcome.num_answers == 60
    assert outcome.num_bounded_ended >= 0.95 * outcome.num_bounded
    assert outcome.num_calls >= outcome.num_ended
