"""From the harness's generation arguments to requests of the engine.

Owns: which arguments there are and what they mean here. Must not know: how requests are run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash

from engine.detokenizer import StopStringMatcher
from engine.request import Request, SamplingParams, StopRules
from engine.tokenizer import Tokenizer

__all__ = ["GenerationArguments", "generation_request", "read_arguments"]

_SAMPLING = (
    *("top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationArguments:
    """What one context asks for. `until` are stop strings; `sampling` goes into SamplingParams."""

    max_tokens: int
    temperature: float
    until: tuple[str, ...]
    sampling: Mapping[str, Any]


def read_arguments(arguments: Mapping[str, Any], default_tokens: int) -> GenerationArguments:
    """The arguments as the harness's own backends read them: greedy unless a temperature or
    `do_sample` says otherwise. Raises ValueError for one that has no meaning here.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    known = dict(normalize_gen_kwargs(dict(arguments), default_tokens))
    until = [text for text in known.pop("until") if text]
    max_tokens = int(known.pop("max_gen_toks"))
    does_sample = bool(known.pop("do_sample"))
    temperature = known.pop("temperature", None)
    if not does_sample:
        temperature = 0.0
    sampling = {name: known.pop(name) for name in _SAMPLING if known.get(name) is not None}
    if known.pop("num_beams", 1) != 1 or known:
        names = ", ".join(sorted(known)) or "num_beams"
        raise ValueError(f"generation arguments that headrace does not have: {names}")
    return GenerationArguments(
        max_tokens=max_tokens,
        temperature=1.0 if temperature is None else float(temperature),
        until=tuple(until),
        sampling=sampling,
    )


def generation_request(
    number: int,
    prompt: Sequence[int],
    arguments: GenerationArguments,
    *,
    tokenizer: Tokenizer,
    eos_token_ids: frozenset[int],
    seed: int,
) -> Request:
    """The request `number` of a list. Equal prompts get different samples, the same in each run."""
    words = ",".join(map(str, prompt))
    drawn = xxhash.xxh3_64_intdigest(f"{seed}:{number}:{words}".encode())
    matcher = StopStringMatcher(tokenizer, arguments.until) if arguments.until else None
    return Request(
        request_id=str(number),
        prompt_token_ids=prompt,
        sampling=SamplingParams(
            temperature=arguments.temperature, seed=drawn, **dict(arguments.sampling)
        ),
        stop=StopRules(max_tokens=arguments.max_tokens, eos_token_ids=eos_token_ids),
        stop_matcher=matcher,
    )
