"""What constrained decoding adds to a step, at 64 running requests and the shape of Qwen3-0.6B.

    OMP_NUM_THREADS=1 python -m bench.mask_overhead

Prints the processor time of the parts of one decode step, bf16 on the CPU with one thread: the
model's forward pass without its attention over the cache (so a real step takes longer, and the
share told here is too high rather than too low), sampling, filling 64 masks of 151,936 tokens, and
applying them. Weights and logits are made up; times do not depend on them.
"""

import json
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from bench.structured_cases import SAMPLES
from bench.structured_output import LlGuidance, greedy_tokens, vocabulary
from kernels.sampling import SamplingTensors, TokenMasks
from kernels.sampling.reference import sample

ROWS = 64
VOCAB_SIZE = 151_936
REPEATS = 20


def main() -> None:
    """Measure and print one JSON object; times in milliseconds for each step."""
    torch.set_num_threads(1)
    masks = _mask_source()
    bits = masks()
    token_masks = TokenMasks(rows=torch.arange(ROWS), bits=torch.from_numpy(bits))
    noise = torch.rand(ROWS, dtype=torch.float64)
    drawn = {"temperature": torch.ones(ROWS), "uniform": noise}
    times = {
        "forward": _mean_ms(_forward(), 3),
        "sample": _mean_ms(lambda: sample(_logits(), SamplingTensors(**drawn))),
        "sample_masked": _mean_ms(
            lambda: sample(_logits(), SamplingTensors(masks=token_masks, **drawn))
        ),
        "logits": _mean_ms(_logits),
        "fill_masks": _mean_ms(masks),
    }
    added = times["fill_masks"] + times["sample_masked"] - times["sample"]
    step = times["forward"] + times["sample"] - times["logits"]
    share = added / step
    print(json.dumps({name: round(value, 2) for name, value in times.items()} | {"share": share}))


def _logits() -> torch.Tensor:
    return torch.randn(ROWS, VOCAB_SIZE // 16).repeat(1, 16)


def _mask_source() -> Callable[[], np.ndarray[tuple[int, int], np.dtype[np.int32]]]:
    """64 matchers, each at another place of an answer; a call fills all their masks and moves each
    one token on.
    """
    vocab = vocabulary(VOCAB_SIZE)
    backend = LlGuidance(vocab)
    compiled = [backend.compile(schema) for schema, _ in SAMPLES]
    texts = [
        greedy_tokens(vocab, json.dumps(value, ensure_ascii=False).encode()) for _, value in SAMPLES
    ]
    bits = np.empty((ROWS, VOCAB_SIZE // 32), np.int32)
    matchers = [backend.start(compiled[row % len(compiled)]) for row in range(ROWS)]
    places = [row // len(compiled) % 12 for row in range(ROWS)]
    for row, matcher in enumerate(matchers):
        for token in texts[row % len(texts)][: places[row]]:
            backend.accept(matcher, token)

    def fill() -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        for row, matcher in enumerate(matchers):
            text = texts[row % len(texts)]
            if places[row] == len(text):
                matchers[row] = matcher = backend.start(compiled[row % len(compiled)])
                places[row] = 0
            backend.fill(matcher, bits[row])
            backend.accept(matcher, text[places[row]])
            places[row] += 1
        return bits

    return fill


def _forward() -> Callable[[], object]:
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        model = Qwen3ForCausalLM._from_config(config, dtype=torch.bfloat16)
    model = model.to_empty(device="cpu").eval()
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.fill_(0.01)
    model.tie_weights()
    tokens = torch.arange(ROWS)[:, None]

    def forward() -> object:
        with torch.inference_mode():
            return model(input_ids=tokens, use_cache=False)

    return forward


def _mean_ms(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor time, whose clock may be coarse: over all repeats together."""
    work()
    start_s = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - start_s) / repeats


if __name__ == "__main__":
    main()
