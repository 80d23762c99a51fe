"""Recorded decoding on a fake device: padding, sizes, when it is used, and a model's tokens."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.batch import RequestRows, StepInputs
from engine.cuda_graphs import DecodeGraphs, pad
from engine.forward_inputs import ForwardInputs
from engine.request import SamplingParams
from engine.step import NewRequest, PlanRow, StepPlan
from tests.engine.golden import expected, own_tokens
from tests.engine.recorders import FakeRecorder
from tests.engine.tiny_engine import load_tiny, tiny_engine

CPU = torch.device("cpu")
VOCAB_SIZE = 7


def _inputs(num_rows: int, num_new: int = 1, num_tokens: int = 5, **row: object) -> StepInputs:
    """`num_rows` requests that have reached `num_tokens`, and compute the last ones."""
    rows = RequestRows(max_num_seqs=64, max_model_len=600, block_size=2)
    num_blocks = -(-num_tokens // 2)
    plan_rows, new = [], []
    for number in range(num_rows):
        tokens = [number * 10 + place for place in range(num_tokens)]
        blocks = tuple(range(number * num_blocks, (number + 1) * num_blocks))
        new.append(NewRequest(str(number), tokens, num_tokens, 0, SamplingParams()))
        start = num_tokens - num_new
        fields = {"logit_positions": range(num_tokens - 1, num_tokens), **row}
        plan_rows.append(PlanRow(str(number), start, num_new, (blocks,), **fields))  # type: ignore[arg-type]
    return rows.begin_step(StepPlan(1, tuple(plan_rows), tuple(new)))


def _forward(inputs: ForwardInputs) -> Tensor:
    """Logits that tell what came in."""
    size = len(inputs.input_ids)
    assert len(inputs.positions) == len(inputs.attention.seq_lens) == size
    assert inputs.logit_indices.tolist() == list(range(size))
    tables = inputs.attention.block_table.sum(1)
    return (inputs.input_ids * 1000 + inputs.positions + tables)[:, None].float().repeat(1, 7)


def _graphs(
    forward: Callable[[ForwardInputs], Tensor] = _forward, **sizes: int
) -> tuple[DecodeGraphs, FakeRecorder]:
    recorder = FakeRecorder()
    sizes = {"max_num_seqs": 64, "max_blocks": 300, **sizes}
    return DecodeGraphs(forward, recorder, device=CPU, **sizes), recorder


def _run(graphs: DecodeGraphs, inputs: StepInputs) -> list[float]:
    assert graphs.can_use(inputs)
    with torch.inference_mode():
        return graphs.run(inputs, lambda _: None)[:, 0].tolist()


def _expected(inputs: StepInputs) -> list[float]:
    sums = inputs.input_ids * 1000 + inputs.positions + inputs.block_table.sum(1)
    return sums.astype(float).tolist()


def test_steps_of_all_sizes_get_their_own_logits_from_few_recordings() -> None:
    graphs, recorder = _graphs()
    sizes = [*range(1, 65), *range(64, 0, -1)]
    for size in sizes:
        inputs = _inputs(size, num_tokens=5 + size % 3)
        assert _run(graphs, inputs) == _expected(inputs)
    # 1, 2, 4, and every eighth up to 64.
    assert recorder.num_recorded == 3 + 8
    assert recorder.num_replayed == len(sizes) - recorder.num_recorded


def test_large_sizes_are_few() -> None:
    graphs, _ = _graphs(max_num_seqs=1000)
    sizes = sorted({graphs._key(num_rows, 1)[0] for num_rows in range(1, 1001)})
    assert sizes[:6] == [1, 2, 4, 8, 16, 24]
    assert {128, 144, 256, 288, 512, 576, 960, 1000} <= set(sizes)
    assert len(sizes) < 48
    for num_rows in range(8, 1001):
        size = graphs._key(num_rows, 1)[0]
        assert num_rows <= size <= max(num_rows + 7, num_rows * 1.125)


def test_a_longer_table_takes_another_recording_up_to_the_widest() -> None:
    graphs, recorder = _graphs()
    for num_tokens in (3, 64, 65, 256, 257, 599):
        inputs = _inputs(2, num_tokens=num_tokens)
        assert _run(graphs, inputs) == _expected(inputs)
    assert recorder.num_recorded == 3  # tables of 32, 128 and 300 blocks


def test_what_only_the_device_knows_is_filled_in_before_the_replay() -> None:
    graphs, _ = _graphs()
    inputs = _inputs(3)
    for token in (8, 9):  # recorded, then replayed
        with torch.inference_mode():
            logits = graphs.run(inputs, lambda ids, token=token: ids.fill_(token))
        assert (logits[:, 0] // 1000).tolist() == [token] * 3


def test_only_pure_decoding_within_the_largest_size_is_replayed() -> None:
    graphs, _ = _graphs(max_num_seqs=5)
    assert graphs.can_use(_inputs(5))
    assert not graphs.can_use(_inputs(6))
    assert not graphs.can_use(_inputs(2, num_new=3)), "a chunk of a prompt"
    assert not graphs.can_use(_inputs(2, logit_positions=range(0))), "nothing is sampled"
    scored = _inputs(2, num_new=1, logit_positions=range(0), scored_positions=range(4, 5))
    assert not graphs.can_use(scored)
    assert len(_run(graphs, _inputs(5))) == 5


def test_padding_adds_rows_without_tokens_and_tokens_without_slots() -> None:
    inputs = _inputs(3)
    padded = pad(inputs, 8, 40)
    assert padded.cu_seqlens_q.tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert padded.seq_lens.tolist() == [5, 5, 5, 0, 0, 0, 0, 0]
    assert padded.slot_mapping.tolist()[3:] == [-1] * 5
    assert padded.block_table.shape == (8, 40)
    np.testing.assert_array_equal(padded.block_table[:3, :3], inputs.block_table)
    assert padded.slot_mapping.dtype == np.int64
    assert padded.seq_lens.dtype == padded.block_table.dtype == np.int32


def test_what_cannot_be_recorded_runs_on_without(caplog: pytest.LogCaptureFixture) -> None:
    def waits_for_the_device(inputs: ForwardInputs) -> Tensor:
        assert float(inputs.positions.sum()) > 0
        return _forward(inputs)

    graphs, recorder = _graphs(waits_for_the_device)
    inputs = _inputs(4)
    with caplog.at_level(logging.WARNING):
        assert _run(graphs, inputs) == _expected(inputs), "the step itself was computed"
    assert "without CUDA graphs" in caplog.text
    assert not graphs.can_use(inputs)
    assert recorder.num_replayed == 0


def test_a_device_that_fails_while_recording_is_no_reason_to_go_on() -> None:
    class Lost:
        def record(self, _: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    graphs = DecodeGraphs(_forward, Lost(), device=CPU, max_num_seqs=4, max_blocks=4)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        graphs.run(_inputs(2), lambda _: None)


@pytest.mark.parametrize(
    ("family", "max_in_flight"), [("qwen3", 1), ("qwen3", 2), ("gemma3", 2), ("gpt_oss", 2)]
)
def test_tokens_equal_generate_when_decoding_is_replayed(
    family: str, max_in_flight: int, checkpoints: Path
) -> None:
    recorder = FakeRecorder()
    with tiny_engine(
        load_tiny(family, checkpoints), max_in_flight=max_in_flight, recorder=recorder
    ) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)
    assert recorder.num_recorded > 0
    assert recorder.num_replayed > recorder.num_recorded
