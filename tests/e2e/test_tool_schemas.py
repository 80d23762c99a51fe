"""Tools of real-world shape, called by a model of random weights: every call is valid."""

import pytest

from engine.structured_output.tool_formats import TOOL_FORMATS
from tests.e2e.tool_schema_run import run_tools


@pytest.mark.timeout(240)
def test_calls_that_are_demanded_are_valid() -> None:
    outcome = run_tools(60, seeds=[0], max_tokens=400)
    assert not outcome.invalid
    assert not outcome.refused
    assert outcome.num_answers == 60
    assert outcome.num_bounded_ended >= 0.95 * outcome.num_bounded
    assert outcome.num_calls >= outcome.num_ended


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("family", sorted(set(TOOL_FORMATS) - {"hermes", "ernie45", "granite4"}))
def test_calls_of_every_family_are_valid(family: str) -> None:
    outcome = run_tools(6, seeds=[0], max_tokens=200, family=family)
    assert not outcome.invalid
    assert outcome.num_bounded_ended >= 0.9 * outcome.num_bounded
    assert outcome.num_calls >= outcome.num_ended
    # Names and values that a format cannot hold are refused, by name.
    assert all("cannot be" in reason for reason in outcome.refused)
    if family not in ("functiongemma", "llama4_pythonic", "pythonic"):
        assert not outcome.refused
