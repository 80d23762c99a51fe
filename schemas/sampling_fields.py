"""What a request's sampling parameters mean, whichever endpoint they came to.

Owns: the view of them that sampling and the cost of a job are made from. Must not know: prompts,
messages, the model's defaults.
"""

from typing import Protocol

__all__ = ["SamplingFields", "SamplingProperties"]


class _RawFields(Protocol):
    """The fields below, as a client sends them; None is absent."""

    @property
    def n(self) -> int | None: ...
    @property
    def stop(self) -> str | list[str] | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def logit_bias(self) -> dict[str, float] | None: ...


class SamplingProperties:
    """Mixed into a request model: its fields in the form in which they are used."""

    @property
    def num_choices(self: _RawFields) -> int:
        return 1 if self.n is None else self.n

    @property
    def stop_strings(self: _RawFields) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def top_k_tokens(self: _RawFields) -> int | None:
        """How many tokens top_k leaves; 0 switches it off (on the wire also -1); None: not said."""
        return None if self.top_k is None else max(self.top_k, 0)

    @property
    def bias_by_token_id(self: _RawFields) -> dict[int, float]:
        """`logit_bias` with its keys as numbers; they may still exceed the vocabulary."""
        return {int(token_id): bias for token_id, bias in (self.logit_bias or {}).items()}


class SamplingFields(Protocol):
    """What every request says about sampling, with None where the model's defaults apply."""

    @property
    def model(self) -> str: ...
    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def num_choices(self) -> int: ...
    @property
    def stop_strings(self) -> tuple[str, ...]: ...
    @property
    def top_k_tokens(self) -> int | None: ...
    @property
    def bias_by_token_id(self) -> dict[int, float]: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def min_p(self) -> float | None: ...
    @property
    def repetition_penalty(self) -> float | None: ...
    @property
    def presence_penalty(self) -> float | None: ...
    @property
    def frequency_penalty(self) -> float | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def min_tokens(self) -> int | None: ...
    @property
    def ignore_eos(self) -> bool | None: ...
    @property
    def stop_token_ids(self) -> list[int] | None: ...
    @property
    def include_stop_str_in_output(self) -> bool | None: ...
    @property
    def skip_special_tokens(self) -> bool | None: ...
    @property
    def allowed_token_ids(self) -> list[int] | None: ...
    @property
    def bad_words(self) -> list[str] | None: ...
    @property
    def truncate_prompt_tokens(self) -> int | None: ...
    @property
    def truncation_side(self) -> str | None: ...
    @property
    def priority(self) -> int | None: ...
    @property
    def cache_salt(self) -> str | None: ...
