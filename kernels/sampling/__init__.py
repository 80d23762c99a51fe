"""From logits to tokens: the contract of `sample` and of its noise.

The steps, in this order (vLLM's, so that the same parameters give the same candidates):

1. logits become float32;
2. token biases are added (`logit_bias`);
3. banned tokens become -inf (end-of-sequence and stop tokens before `min_tokens`);
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
)

__all__ = ["Penalties", "Sample", "SampledTokens", "SamplingTensors", "TokenBans", "TokenBiases"]


class Sample(Protocol):
    """The callable of the op "sample"."""

    def __call__(self, logits: Tensor, params: SamplingTensors) -> SampledTokens:
        """Sample one token for each row.

        logits: [R, V] of any float dtype, R may be 0. They may be overwritten: compute log
        probabilities first. Nothing is raised for what the logits hold, see
        `SampledTokens.is_valid`.
        """
        ...
