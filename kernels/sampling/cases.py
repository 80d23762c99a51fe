"""Rows for sampling: for tests and for the benchmark.

Owns: cases, inputs. Tokens are compared exactly, so there are no tolerances: an implementation
whose probabilities differ in the last bit may sample another token in about one of a million rows,
none in these. Must not know: implementations.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kernels.sampling.noise import uniforms
from kernels.sampling.tensors import Penalties, SamplingTensors, TokenBans, TokenBiases

__all__ = ["CASES", "SamplingCase", "SamplingInputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingInputs:
    """The arguments of one call, `Sample`'s."""

    logits: Tensor
    params: SamplingTensors


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCase:
    """Which steps are on. Every third row has each of them off, so that neutral values are met;
    with `has_greedy_rows` every fourth row is greedy. `scale`: standard deviation of the logits.
    """

    name: str
    num_rows: int = 40
    vocab_size: int = 997
    scale: float = 3.0
    is_greedy: bool = False
    has_greedy_rows: bool = False
    temperature: float = 1.0
    min_p: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    has_bans: bool = False
    has_biases: bool = False
    history_len: int | None = None

    def make_inputs(self, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> SamplingInputs:
        """Random logits, histories and noise."""
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(self.num_rows, self.vocab_size, generator=generator) * self.scale
        index = torch.arange(self.num_rows)
        is_off = index % 3 == 2
        params = SamplingTensors(
            temperature=self._temperature(index, device),
            uniform=self._uniform(seed, device),
            bans=self._bans(generator, device),
            biases=self._biases(generator, device),
            penalties=self._penalties(generator, device),
            min_p=_filled(self.min_p, is_off, 0.0, torch.float32, device),
            top_k=_filled(self.top_k, is_off, 0, torch.int64, device),
            top_p=_filled(self.top_p, is_off, 1.0, torch.float32, device),
        )
        return SamplingInputs(logits=logits.to(dtype).to(device), params=params)

    def _temperature(self, index: Tensor, device: str) -> Tensor | None:
        if self.is_greedy:
            return None
        temperature = torch.full((self.num_rows,), self.temperature)
        if self.has_greedy_rows:
            temperature[index % 4 == 1] = 0
        return temperature.to(device)

    def _uniform(self, seed: int, device: str) -> Tensor | None:
        if self.is_greedy:
            return None
        rows = np.arange(self.num_rows)
        return torch.from_numpy(uniforms(rows + seed, rows % 3, rows * 7)).to(device)

    def _pairs(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some pairs (row, token), each once."""
        size = self.num_rows * self.vocab_size
        flat = torch.randperm(size, generator=generator)[: size // 10]
        return flat // self.vocab_size, flat % self.vocab_size

    def _bans(self, generator: torch.Generator, device: str) -> TokenBans | None:
        if not self.has_bans:
            return None
        rows, token_ids = self._pairs(generator)
        return TokenBans(rows=rows.to(device), token_ids=token_ids.to(device))

    def _biases(self, generator: torch.Generator, device: str) -> TokenBiases | None:
        if not self.has_biases:
            return None
        rows, token_ids = self._pairs(generator)
        values = torch.randn(len(rows), generator=generator) * 5
        return TokenBiases(
            rows=rows.to(device), token_ids=token_ids.to(device), values=values.to(device)
        )

    def _penalties(self, generator: torch.Generator, device: str) -> Penalties | None:
        if self.history_len is None:
            return None
        rows = torch.arange(0, self.num_rows, 2)
        shape = (len(rows), self.history_len)
        token_ids = torch.randint(self.vocab_size, shape, generator=generator)
        token_ids[:, : self.history_len // 2] %= 20  # so that tokens repeat
        num_tokens = torch.randint(1, self.history_len + 1, rows.shape, generator=generator)
        num_prompt_tokens = (num_tokens * torch.rand(rows.shape, generator=generator)).long()
        padding = torch.arange(self.history_len) >= num_tokens[:, None]
        token_ids[padding] = torch.iinfo(torch.int64).min
        repetition, presence, frequency = torch.rand(3, len(rows), generator=generator)
        return Penalties(
            rows=rows.to(device),
            token_ids=token_ids.to(device),
            num_prompt_tokens=num_prompt_tokens.to(device),
            num_tokens=num_tokens.to(device),
            repetition=(0.7 + repetition).to(device),
            presence=(4 * presence - 2).to(device),
            frequency=(4 * frequency - 2).to(device),
        )


def _filled(
    value: float | None, is_off: Tensor, neutral: float, dtype: torch.dtype, device: str
) -> Tensor | None:
    """[R] with `value`, `neutral` where off; None if there is no value."""
    if value is None:
        return None
    filled = torch.full(is_off.shape, value, dtype=dtype)
    return filled.masked_fill(is_off, neutral).to(device)


CASES = (
    SamplingCase(name="greedy", is_greedy=True),
    SamplingCase(name="plain"),
    SamplingCase(name="one_row", num_rows=1, top_p=0.9, top_k=7),
    SamplingCase(name="no_row", num_rows=0, top_p=0.9, top_k=7, min_p=0.1, history_len=9),
    SamplingCase(name="one_token", vocab_size=1, top_p=0.5, top_k=3),
    SamplingCase(name="hot", temperature=2.0, scale=0.1),
    SamplingCase(name="cold", temperature=1e-6),
    SamplingCase(name="min_p", min_p=0.05),
    SamplingCase(name="top_k", top_k=20),
    SamplingCase(name="top_k_1", top_k=1),
    SamplingCase(name="top_k_all", top_k=100_000),
    SamplingCase(name="top_p", top_p=0.9),
    SamplingCase(name="top_p_flat", top_p=0.9, scale=0.01),
    SamplingCase(name="top_p_tiny", top_p=1e-6),
    SamplingCase(name="usual", temperature=0.6, top_k=20, top_p=0.95, has_greedy_rows=True),
    SamplingCase(name="bans", has_bans=True, has_greedy_rows=True),
    SamplingCase(name="biases", has_biases=True, has_greedy_rows=True),
    SamplingCase(name="penalties", history_len=65, has_greedy_rows=True),
    SamplingCase(name="greedy_penalties", history_len=1, is_greedy=True),
    SamplingCase(
        name="everything",
        temperature=0.8,
        min_p=0.01,
        top_k=50,
        top_p=0.9,
        has_bans=True,
        has_biases=True,
        history_len=33,
        has_greedy_rows=True,
    ),
    SamplingCase(
        name="large_vocabulary", num_rows=9, vocab_size=151_937, temperature=0.7, top_p=0.95
    ),
)
