"""From grammars and budgets to what requests carry.

Owns: the parts that all constraints of one model share. Must not know: jobs, schemas of requests.
Called from the threads that translate jobs: compiling may take a while.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.structured_output.compiler import GrammarCompiler
from engine.structured_output.constraint import OutputConstraint
from engine.structured_output.limits import DEFAULT_LIMITS, GrammarLimits
from engine.structured_output.thinking import (
    AnalysisBudget,
    ThinkingState,
    find_thinking_markers,
)
from engine.tokenizer import Tokenizer

__all__ = ["ConstraintFactory", "ThinkingRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingRules:
    """What is known about an answer's reasoning. `budget`: how many tokens it may have; None: any
    number. `is_off`: the request asked for an answer without. `is_continued`: the prompt's last
    message is the beginning of the answer. `is_in_grammar`: the grammar holds the reasoning too.
    `is_raw`: the prompt is a text without messages, so no channel is open.
    """

    budget: int | None = None
    is_off: bool = False
    is_continued: bool = False
    is_in_grammar: bool = False
    is_raw: bool = False


class ConstraintFactory:
    """Builds constraints for one model. Thread safe."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        eos_token_ids: frozenset[int],
        limits: GrammarLimits = DEFAULT_LIMITS,
    ) -> None:
        self.compiler = GrammarCompiler(
            tokenizer, vocab_size=vocab_size, eos_token_ids=eos_token_ids, limits=limits
        )
        self._tokenizer = tokenizer
        self._eos_token_ids = eos_token_ids
        self._markers = find_thinking_markers(tokenizer)

    @property
    def can_think(self) -> bool:
        """Whether the model has tokens that begin and end reasoning."""
        return self._markers is not None

    @property
    def tokens(self) -> Mapping[str, int]:
        """The tokens that stand for one fixed text each."""
        return self._tokenizer.added_token_ids

    def build(
        self,
        grammar: str | None,
        prompt: Sequence[int],
        thinking: ThinkingRules,
        *,
        ignores_ends: bool = False,
    ) -> OutputConstraint:
        """A constraint for one answer to `prompt`. Raises GrammarError for a bad grammar."""
        state = budget = None
        if thinking.is_in_grammar:
            if thinking.budget:
                budget = AnalysisBudget(self._tokenizer, thinking.budget)
        elif self._markers is not None and not (thinking.is_raw and self._markers.start_id is None):
            state = ThinkingState(
                self._markers,
                prompt,
                budget=thinking.budget,
                is_off=thinking.is_off,
                is_continued=thinking.is_continued,
            )
        return OutputConstraint(
            None if grammar is None else self.compiler.matcher(grammar),
            state,
            num_tokens=self.compiler.num_tokens,
            end_ids=self._eos_token_ids,
            ignores_ends=ignores_ends,
            budget=budget,
        )
