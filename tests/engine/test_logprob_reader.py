import numpy as np
import torch

from engine.batch import RequestRows
from engine.logprob_reader import LogprobReader
from engine.request import SamplingParams
from engine.step import NewRequest, PlanRow, StepPlan

CPU = torch.device("cpu")
VOCAB_SIZE = 11


def _plan() -> StepPlan:
    """a: two scored tokens and a sampled one; b asks for nothing; c: one sampled token."""
    rows = (
        PlanRow("a", 0, 3, ((0,),), range(2, 3), num_logprobs=2, scored_positions=range(2)),
        PlanRow("b", 0, 2, ((1,),), range(1, 2)),
        PlanRow("c", 0, 1, ((2,),), range(1), num_logprobs=0),
    )
    prompts = {"a": [4, 5, 6], "b": [1, 2], "c": [3]}
    new = tuple(
        NewRequest(name, tokens, len(tokens), 0, SamplingParams(temperature=0.0))
        for name, tokens in prompts.items()
    )
    return StepPlan(1, rows, new)


def _read(logits: torch.Tensor, sampled: list[int]):
    plan = _plan()
    inputs = RequestRows(max_num_seqs=4, max_model_len=32, block_size=4).begin_step(plan)
    assert inputs.logit_indices.tolist() == [2, 4, 5, 0, 1]
    reader = LogprobReader(CPU)
    kept = reader.keep(plan, inputs, logits)
    assert kept is not None
    logits[:3].zero_()  # what a sampler may do to its part
    measured = reader.measure(inputs, kept, torch.tensor(sampled), num_top=2)
    return reader.read(plan, inputs, [tensor.numpy() for tensor in measured])


def test_scored_and_sampled_tokens_go_to_their_requests_in_order() -> None:
    logits = torch.randn(5, VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
    wanted = logits.log_softmax(-1)
    read = _read(logits.clone(), [7, 8, 9])
    assert set(read.rows) == {"a", "c"}
    assert not read.invalid_request_ids
    a, c = read.rows["a"], read.rows["c"]
    assert (a.first_token, c.first_token) == (1, 1)
    expected = [wanted[3, 5], wanted[4, 6], wanted[0, 7]]
    np.testing.assert_allclose(a.logprobs, torch.stack(expected), atol=1e-5)
    assert a.top_token_ids.tolist() == wanted[[3, 4, 0]].topk(2).indices.tolist()
    np.testing.assert_allclose(c.logprobs, wanted[2, 9:10], atol=1e-5)
    assert c.top_token_ids.shape == (1, 0)


def test_logits_that_are_no_numbers_are_told_apart() -> None:
    logits = torch.randn(5, VOCAB_SIZE, generator=torch.Generator().manual_seed(1))
    logits[4, 3] = float("nan")  # a scored row of a
    read = _read(logits, [7, 8, 9])
    assert read.invalid_request_ids == {"a"}
    assert set(read.rows) == {"c"}


def test_nothing_is_kept_if_no_row_asks() -> None:
    plan = _plan()
    asked = StepPlan(1, tuple(row for row in plan.rows if row.request_id == "b"), plan.new_requests)
    inputs = RequestRows(max_num_seqs=4, max_model_len=32, block_size=4).begin_step(asked)
    assert LogprobReader(CPU).keep(asked, inputs, torch.zeros(1, VOCAB_SIZE)) is None
