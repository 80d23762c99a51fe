"""What one grammar may cost.

Owns: the numbers. Must not know: what a grammar says. Time is processor time of the trial; memory
is what the trial's process may take beyond what it starts with.
"""

from dataclasses import dataclass

from llguidance import LLParserLimits

__all__ = ["DEFAULT_LIMITS", "GrammarLimits", "parser_limits"]

# The lexer's states take about 1-2 kB each, and live as long as the grammar is in use.
_MAX_LEXER_STATES = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class GrammarLimits:
    """Limits of one trial, of a grammar's text, and of the cache of compiled grammars. `quick_s`
    is the processor time of a trial that others wait for.
    """

    time_s: int = 2
    quick_s: float = 0.2
    memory_bytes: int = 512 * 2**20
    max_text_chars: int = 4_000_000
    cache_bytes: int = 256 * 2**20


DEFAULT_LIMITS = GrammarLimits()


def parser_limits() -> LLParserLimits:
    """The library's own limits: they bound the work of a single step."""
    return LLParserLimits(max_lexer_states=_MAX_LEXER_STATES, verbose_errors=False)
