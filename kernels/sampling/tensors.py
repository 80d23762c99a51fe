"""What sampling is told about the rows of one step.

Owns: the types. An optional field that is None means that no row needs that step, which then costs
nothing; a field that is set holds a neutral value in the rows that do not need it, and neutral
values leave a row bit for bit as it was. Must not know: requests, where the numbers come from.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = [
    "Penalties",
    "SampledTokens",
    "SamplingTensors",
    "TokenBans",
    "TokenBiases",
    "TokenLogprobs",
    "TokenMasks",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBans:
    """Tokens that may not be sampled: `token_ids[i]` in row `rows[i]`.

    rows, token_ids: [n] int64.
    """

    rows: Tensor
    token_ids: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMasks:
    """The only tokens that may be sampled in some rows, each of which occurs at most once.

    rows: [n] int64. bits: [n, words] int32; bit t % 32 of word t // 32 is set if t is allowed,
    and tokens beyond the last word are not.
    """

    rows: Tensor
    bits: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBiases:
    """Added to logits: `values[i]` to `token_ids[i]` of row `rows[i]`; no pair occurs twice.

    rows, token_ids: [n] int64; values: [n] float32.
    """

    rows: Tensor
    token_ids: Tensor
    values: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalties:
    """Penalties of the P rows that have any, and the token histories they depend on.

    rows:              [P] int64, the rows of the logits, each at most once.
    token_ids:         [P, L] int32 or int64, prompt then output; what follows is padding that is
                       not read as a token (it may hold anything).
    num_prompt_tokens: [P] int64, where the output begins.
    num_tokens:        [P] int64, prompt and output, at least 1 and at most L.
    repetition:        [P] float32, 1 = off; over prompt and output.
    presence:          [P] float32, 0 = off; over the output only.
    frequency:         [P] float32, 0 = off; over the output only.
    """

    rows: Tensor
    token_ids: Tensor
    num_prompt_tokens: Tensor
    num_tokens: Tensor
    repetition: Tensor
    presence: Tensor
    frequency: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingTensors:
    """How each of the R rows is sampled; all tensors are on the device of the logits.

    temperature: [R] float32, 0 = greedy. None: every row is greedy.
    uniform:     [R] float64 in [0, 1), see `kernels.sampling.noise`; None with temperature only.
    min_p:       [R] float32, 0 = off.
    top_k:       [R] int64, 0 = off.
    top_p:       [R] float32, 1 = off.

    Raises ValueError if only one of temperature and uniform is given.
    """

    temperature: Tensor | None = None
    uniform: Tensor | None = None
    bans: TokenBans | None = None
    masks: TokenMasks | None = None
    biases: TokenBiases | None = None
    penalties: Penalties | None = None
    min_p: Tensor | None = None
    top_k: Tensor | None = None
    top_p: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.temperature is None) != (self.uniform is None):
            raise ValueError("temperature and uniform go together: give both or neither")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledTokens:
    """One token for each row.

    token_ids: [R] int64; 0 where the row is not valid, so that it may be fed to an embedding
               before the host has looked at `is_valid`.
    is_valid:  [R] bool; False where nothing could be sampled: a NaN among the logits, an infinite
               one at the top, or every token banned or masked.
    """

    token_ids: Tensor
    is_valid: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprobs:
    """How likely one token of each row was, and which were likelier; natural logarithms.

    logprobs:      [R] float32, of the tokens asked for; -inf for a token that is impossible.
    ranks:         [R] int64, 1 for the likeliest token; those equally likely share a rank.
    top_token_ids: [R, K] int64, the likeliest tokens, best first, of equal ones the lowest id
                   first. K is the number asked for, or the vocabulary where that is smaller.
    top_logprobs:  [R, K] float32, theirs.
    is_valid:      [R] bool; False where the logits hold NaN or have no finite maximum: the row's
                   numbers then mean nothing, but are no NaN.
    """

    logprobs: Tensor
    ranks: Tensor
    top_token_ids: Tensor
    top_logprobs: Tensor
    is_valid: Tensor
