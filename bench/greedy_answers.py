"""The demo model's held-out requests, answered greedily: what measurements of accuracy share.

Owns: from rows to finished requests. Must not know: what is compared, queues, workers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.build import EngineParts, build_engine
from engine.chat_template import ChatOptions
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.logprobs import LogprobRecord
from engine.request import Request, SamplingParams, StopRules
from jobs.evals.demo.suite import held_out_rows

__all__ = ["greedy_answers", "num_common", "prompt_logprobs", "run_together"]


def greedy_answers(
    config: EngineConfig, *, per_task: int, seed: int, max_tokens: int | None = None
) -> list[Request]:
    """`per_task` requests of each task, finished, computed together. Each has the log
    probabilities of its prompt's tokens. `max_tokens` None: what each request says.

    Raises SystemExit if one fails.
    """
    parts = build_engine(config)
    requests = [
        _request(parts, row.custom_id, row.body, max_tokens)
        for row in held_out_rows(per_task, seed=seed)
    ]
    run_together(parts.core, requests)
    parts.core.shutdown()
    for request in requests:
        if request.error is not None:
            raise SystemExit(f"{request.request_id} failed: {request.error}")
    return requests


def prompt_logprobs(request: Request) -> npt.NDArray[np.float32]:
    """Of all prompt tokens but the first, in nats."""
    assert request.logprobs is not None
    return request.logprobs.rows().part(1, request.num_prompt_tokens).logprobs


def run_together(core: EngineCore, requests: Sequence[Request]) -> None:
    """Compute the requests to their ends."""
    for request in requests:
        core.add(request)
    while core.has_work:
        core.step()


def num_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens before the first difference."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(second)))


def _request(
    parts: EngineParts, name: str, body: dict[str, Any], max_tokens: int | None
) -> Request:
    options = ChatOptions(kwargs=body.get("chat_template_kwargs", {}))
    prompt = parts.chat_template.render(body["messages"], body.get("tools"), options=options)
    return Request(
        request_id=name,
        prompt_token_ids=parts.tokenizer.encode_prompt(prompt),
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(
            max_tokens=max_tokens or body["max_tokens"], eos_token_ids=parts.info.eos_token_ids
        ),
        logprobs=LogprobRecord(first_token=1, num_top=0),
    )
