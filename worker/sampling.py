"""From a request's parameters to what the engine samples by.

Owns: defaults (request, else the checkpoint's, else OpenAI's), the clamp to the context, seeds.
Must not know: text, Redis. What needs the vocabulary or the context limit is checked here, because
schemas/ knows neither.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import xxhash

from engine.model.generation import GenerationDefaults
from engine.request import SamplingParams, StopRules
from schemas.errors import ApiError
from schemas.sampling_fields import SamplingFields

__all__ = ["ModelLimits", "SamplingPlan", "check_token_ids", "plan_sampling", "resolve_seed"]

_SEED_MASK = 2**64 - 1
_LEAST_REPETITION_PENALTY = 2.0**-20
_GREATEST_REPETITION_PENALTY = 2.0**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What a request is checked against."""

    max_model_len: int
    vocab_size: int
    eos_token_ids: frozenset[int]
    defaults: GenerationDefaults


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How every choice of one request is drawn and when it ends."""

    sampling: SamplingParams
    stop: StopRules


def plan_sampling(
    chat: SamplingFields,
    limits: ModelLimits,
    *,
    num_prompt_tokens: int,
    seed: int,
    param: str = "messages",
) -> SamplingPlan:
    """The request's parameters under the model's limits; `param` names its prompt.

    Raises ApiError 400 for a prompt that leaves no room and for token ids outside the vocabulary.
    """
    max_tokens = _max_tokens(chat, limits, num_prompt_tokens, param)
    stop_ids = frozenset(chat.stop_token_ids or ())
    check_token_ids("stop_token_ids", stop_ids, limits.vocab_size)
    ignore_eos = bool(chat.ignore_eos)
    min_tokens = min(chat.min_tokens or 0, max_tokens)
    ends = stop_ids if ignore_eos else stop_ids | limits.eos_token_ids
    defaults = limits.defaults
    top_p = _first(chat.top_p, defaults.top_p, 1.0)
    temperature = _first(chat.temperature, defaults.temperature, 1.0)
    sampling = SamplingParams(
        temperature=temperature if top_p > 0 else 0.0,  # no mass at all: the likeliest token
        top_p=top_p,
        top_k=int(_first(chat.top_k_tokens, defaults.top_k, 0)),
        min_p=_first(chat.min_p, defaults.min_p, 0.0),
        repetition_penalty=_repetition_penalty(
            _first(chat.repetition_penalty, defaults.repetition_penalty, 1.0)
        ),
        presence_penalty=chat.presence_penalty or 0.0,
        frequency_penalty=chat.frequency_penalty or 0.0,
        logit_bias=_logit_bias(chat, limits.vocab_size),
        min_tokens=min_tokens,
        banned_token_ids=tuple(sorted(ends)) if min_tokens else (),
        seed=seed,
    )
    stop = StopRules(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        eos_token_ids=limits.eos_token_ids,
        stop_token_ids=stop_ids,
        ignore_eos=ignore_eos,
    )
    return SamplingPlan(sampling, stop)


def resolve_seed(requested: int | None, *, seed: int, request_hash: str, idx: int) -> int:
    """64 bits: the request's seed, else a hash of the process's seed, the request and its line, so
    that a retry, a continuation or another worker draws the same tokens.
    """
    if requested is not None:
        return requested & _SEED_MASK
    return xxhash.xxh3_64_intdigest(f"{seed}:{request_hash}:{idx}".encode())


def _first(requested: float | None, recommended: float | None, default: float) -> float:
    if requested is not None:
        return requested
    return default if recommended is None else recommended


def _repetition_penalty(penalty: float) -> float:
    """Within bounds at which a logit times the penalty is still a float32. A penalty there has
    driven out, or brought to the top, every token it can.
    """
    return min(max(penalty, _LEAST_REPETITION_PENALTY), _GREATEST_REPETITION_PENALTY)


def _max_tokens(
    chat: SamplingFields, limits: ModelLimits, num_prompt_tokens: int, param: str
) -> int:
    """The token limit of an answer, clamped to the rest of the context."""
    room = limits.max_model_len - num_prompt_tokens
    wanted = chat.max_output_tokens
    if room < (0 if wanted == 0 else 1):
        raise ApiError(
            400,
            f"This model's maximum context length is {limits.max_model_len} tokens. However, your "
            f"{param} resulted in {num_prompt_tokens} tokens. Please reduce the length of the "
            f"{param}.",
            param=param,
            code="context_length_exceeded",
        )
    if wanted is not None:
        return min(wanted, room)
    default = limits.defaults.max_new_tokens
    return room if default is None else max(1, min(default, room))


def _logit_bias(chat: SamplingFields, vocab_size: int) -> tuple[tuple[int, float], ...]:
    bias = chat.bias_by_token_id
    check_token_ids("logit_bias", bias, vocab_size)
    return tuple(sorted(bias.items()))


def check_token_ids(param: str, token_ids: Iterable[int], vocab_size: int) -> None:
    """Raises ApiError 400 for the first token id that the model does not have."""
    for token_id in token_ids:
        if token_id >= vocab_size:
            raise ApiError(
                400,
                f"Invalid '{param}': token id {token_id} is not in the model's vocabulary of "
                f"{vocab_size} tokens.",
                param=param,
                code="invalid_value",
            )
