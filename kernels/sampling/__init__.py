"""From logits to tokens: the contracts of `sample`, of its noise, and of `logprobs`.

The steps, in this order (vLLM's, so that the same parameters give the same candidates):

1. logits become float32;
2. token biases are added (`logit_bias`);
3. tokens that a mask does not allow become -inf (grammars), and so do banned ones
   (end-of-sequence and stop tokens before `min_tokens`);
4. penalties: repetition over prompt and output (a positive logit is divided, another one
   multiplied), then frequency x count, then presence, both over the output only;
5. the greedy token: the largest logit, the lowest token id where several are equal;
6. logits are divided by the temperature;
7. min_p: tokens less probable than min_p x the most probable one go;
8. top_k: tokens below the k-th largest logit go; those equal to it all stay;
9. top_p: of what is left, the fewest most probable tokens that reach the mass top_p stay, at least
   one; those equal to the last of them stay too;
10. the draw: the token at which the cumulative probability, in the order of token ids, exceeds
   the row's uniform number. Greedy rows keep the token of step 5.

A row's token depends on that row alone, bit for bit: on a device it is the same whatever the other
rows hold, wherever it stands, and however many there are. References get there by turning
probabilities into whole multiples of 2^-35 of the largest one, whose sums float64 holds exactly, so
that no order of summation matters.

Must not know: requests, seeds (noise comes in as numbers), text.
"""

from typing import Protocol

from torch import Tensor

from kernels.sampling.tensors import (
    Penalties,
    SampledTokens,
    SamplingTensors,
    TokenBans,
    TokenBiases,
    TokenLogprobs,
    TokenMasks,
)
from kernels.triton_library import register_triton

__all__ = [
    "Logprobs",
    "Penalties",
    "Sample",
    "SampledTokens",
    "SamplingTensors",
    "TokenBans",
    "TokenBiases",
    "TokenLogprobs",
    "TokenMasks",
]


class Sample(Protocol):
    """The callable of the op "sample"."""

    def __call__(self, logits: Tensor, params: SamplingTensors) -> SampledTokens:
        """Sample one token for each row.

        logits: [R, V] of any float dtype, R may be 0. They may be overwritten: compute log
        probabilities first. Nothing is raised for what the logits hold, see
        `SampledTokens.is_valid`.
        """
        ...


class Logprobs(Protocol):
    """The callable of the op "logprobs"."""

    def __call__(self, logits: Tensor, token_ids: Tensor, num_top: int) -> TokenLogprobs:
        """The log probabilities of `token_ids` and of the `num_top` likeliest tokens.

        logits: [R, V] of any float dtype, R may be 0; they stay as they are. token_ids: [R] int64,
        each in [0, V). The distribution is the softmax of the logits as they come: biases, bans,
        penalties and temperature have no part in it, unless the caller has applied them.
        A row's numbers depend on that row alone, bit for bit.
        """
        ...


register_triton("sample", "kernels.sampling.gpu")
register_triton("logprobs", "kernels.sampling.gpu_logprobs")
