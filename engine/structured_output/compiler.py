"""From the text of a grammar to a matcher.

Owns: the library's view of the tokenizer, the trial of every new grammar in a process of its own,
and the cache of compiled ones, bounded by bytes. Must not know: requests, JSON, tools. `matcher`
blocks; it is called from the threads that translate jobs, never from the engine's.
"""

import json
import os
import re
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from dataclasses import asdict
from typing import Any, NoReturn

import xxhash
from llguidance import LLMatcher, LLTokenizer

from engine.errors import GrammarError, GrammarPendingError
from engine.structured_output.limits import DEFAULT_LIMITS, GrammarLimits, parser_limits
from engine.structured_output.patience import Patience, current_patience
from engine.structured_output.trial import read_message, write_message
from engine.tokenizer import Tokenizer

__all__ = ["GrammarCompiler"]

_MIN_GRAMMAR_BYTES = 64 * 2**10  # what the matcher of the smallest grammar takes
_MAX_REFUSALS = 4096
_NO_TEXT = "\U000f0040"  # for private use: in no text of a grammar
# <think>, </tool_call>, <|call|>, [TOOL_CALLS]; not pieces of text such as {"name": "
_MARKER = re.compile(r"""[<\[][^\s"'{}]*[>\]]""")
_MAX_ERROR_CHARS = 300
_PENDING = "it is not compiled yet"
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from engine.structured_output.trial import main; main()"
)


class GrammarCompiler:
    """Compiles for one tokenizer. Thread safe: of each patience one caller compiles at a time, and
    what is known is there for everybody meanwhile. The processes for trials start with the first
    grammar and end with this object.

    `vocab_size` is the width of the model's logits, `eos_token_ids` what ends its answers.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        eos_token_ids: frozenset[int],
        limits: GrammarLimits = DEFAULT_LIMITS,
    ) -> None:
        self.num_tokens = max(vocab_size, len(tokenizer))
        self._tokenizer = tokenizer
        self._eos_token_ids = sorted(eos_token_ids)
        self._limits = limits
        self._lock = threading.Lock()
        self._library_tokenizer: LLTokenizer | None = None
        self._spec = ""
        self._trials: dict[Patience, _TrialProcess] = {}
        self._turns = {kind: threading.Lock() for kind in (Patience.QUICK, Patience.FULL)}
        self._matchers: OrderedDict[str, tuple[LLMatcher, int]] = OrderedDict()
        self._refusals: OrderedDict[str, str] = OrderedDict()
        self._num_cached_bytes = 0

    @property
    def num_cached_bytes(self) -> int:
        """What the grammars in the cache take, as measured in their trials."""
        return self._num_cached_bytes

    def matcher(self, grammar: str) -> LLMatcher:
        """A matcher at the beginning of the grammar, one's own.

        Raises GrammarError if the grammar is malformed, cannot be enforced or is too expensive, and
        GrammarPendingError if nobody knows yet and that takes longer than `current_patience`.
        """
        if len(grammar) > self._limits.max_text_chars:
            raise GrammarError(f"its text is longer than {self._limits.max_text_chars} characters")
        key = xxhash.xxh3_128_hexdigest(grammar.encode("utf-8", "surrogatepass"))
        if (found := self._known(key)) is not None:
            return found
        patience = current_patience()
        if patience is Patience.CACHED:
            raise GrammarPendingError(_PENDING)
        with self._turns[patience]:
            if (found := self._known(key)) is not None:
                return found
            return self._compile(key, grammar, patience)

    def is_control_token(self, token_id: int) -> bool:
        """Whether only its id stands for the token: no text in a grammar matches it."""
        with self._lock:
            return self._load().is_special_token(token_id)

    def _known(self, key: str) -> LLMatcher | None:
        """A matcher that is compiled already. Raises GrammarError for one that was refused."""
        with self._lock:
            if key in self._refusals:
                raise GrammarError(self._refusals[key])
            if key not in self._matchers:
                return None
            self._matchers.move_to_end(key)
            return self._matchers[key][0].deep_copy()

    def _compile(self, key: str, grammar: str, patience: Patience) -> LLMatcher:
        with self._lock:
            tokenizer = self._load()
        verdict = self._try(grammar, patience)
        if verdict.get("is_pending"):
            raise GrammarPendingError(_PENDING)
        if "error" in verdict:
            self._refuse(key, str(verdict["error"]))
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=parser_limits())
        if matcher.is_error():  # the trial would have said so
            self._refuse(key, matcher.get_error())
        self._keep(key, matcher, max(_MIN_GRAMMAR_BYTES, int(verdict["num_bytes"])))
        return matcher.deep_copy()

    def _keep(self, key: str, matcher: LLMatcher, num_bytes: int) -> None:
        with self._lock:
            if key in self._matchers:  # somebody with another patience was faster
                return
            self._matchers[key] = matcher, num_bytes
            self._num_cached_bytes += num_bytes
            while self._num_cached_bytes > self._limits.cache_bytes and len(self._matchers) > 1:
                _, (_, freed) = self._matchers.popitem(last=False)
                self._num_cached_bytes -= freed

    def _refuse(self, key: str, message: str) -> NoReturn:
        reason = _first_lines(message)
        with self._lock:
            self._refusals[key] = reason
            if len(self._refusals) > _MAX_REFUSALS:
                self._refusals.popitem(last=False)
        raise GrammarError(reason)

    def _try(self, grammar: str, patience: Patience) -> dict[str, Any]:
        """The trial's verdict. A process that is gone is replaced once: it may have been killed.
        Each patience has a process of its own.
        """
        for _ in range(2):
            if patience not in self._trials:
                setup = {
                    "tokenizer": self._spec,
                    "num_tokens": self.num_tokens,
                    "eos_token_ids": self._eos_token_ids,
                    "limits": asdict(self._limits),
                }
                self._trials[patience] = _TrialProcess(setup)
            verdict = self._trials[patience].ask(grammar, is_quick=patience is Patience.QUICK)
            if verdict is not None:
                return verdict
            self._trials.pop(patience).close()
        return {"error": "the process that tries grammars ended; is there too little memory?"}

    def _load(self) -> LLTokenizer:
        if self._library_tokenizer is None:
            self._spec = _tokenizer_spec(self._tokenizer)
            try:
                self._library_tokenizer = LLTokenizer(
                    self._spec, n_vocab=self.num_tokens, eos_token=self._eos_token_ids or None
                )
            except ValueError as error:
                raise GrammarError(
                    f"this model's tokenizer does not go with grammars: {_first_lines(str(error))}"
                ) from error
        return self._library_tokenizer


class _TrialProcess:
    """The other side of `trial.main`."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self.close = weakref.finalize(self, _end, self._process)
        self._send(setup)

    def ask(self, grammar: str, *, is_quick: bool) -> dict[str, Any] | None:
        """The verdict; None if the process is gone."""
        assert self._process.stdout is not None
        if not self._send({"grammar": grammar, "is_quick": is_quick}):
            return None
        return read_message(self._process.stdout)

    def _send(self, message: dict[str, Any]) -> bool:
        assert self._process.stdin is not None
        try:
            write_message(self._process.stdin, message)
        except OSError:
            return False
        return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:  # what it was being sent is lost with it
                continue
    process.wait()


def _tokenizer_spec(tokenizer: Tokenizer) -> str:
    """The tokenizer as the library reads it, in which markers are known by their ids alone: no
    JSON string holds the token `</tool_call>`, which would end the call for whoever reads it, and
    the same text in a grammar is spelled with ordinary tokens. Other added tokens are text.
    """
    fast = getattr(tokenizer.hf_tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise GrammarError(
            "this model's tokenizer is written in Python, and grammars need a fast one"
        )
    spec = json.loads(fast.to_str())
    names: dict[str, str] = {}
    for token in spec["added_tokens"]:
        if token["special"] or _MARKER.fullmatch(token["content"]):
            names[token["content"]] = token["content"] = f"<{_NO_TEXT}{token['id']}>"
            token["special"] = True
    model = spec["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(text, text): item for text, item in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(text, text), score] for text, score in model["vocab"]]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    _never_prepend_a_space(spec["pre_tokenizer"])
    spec["padding"] = spec["truncation"] = spec["post_processor"] = None
    return json.dumps(spec)


def _never_prepend_a_space(pre_tokenizer: dict[str, Any] | None) -> None:
    """The library spells what a grammar asks for next, which is no beginning of a text."""
    if pre_tokenizer is None:
        return
    for part in [pre_tokenizer, *pre_tokenizer.get("pretokenizers", [])]:
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False


def _first_lines(message: str) -> str:
    """The library's message on one line, without the state it may print after it."""
    text = " ".join(message.partition("<state>")[0].partition("<non-verbose/>")[0].split())
    text = text.replace("Unimplemented keys", "unsupported keywords")
    return text if len(text) <= _MAX_ERROR_CHARS else text[: _MAX_ERROR_CHARS - 3] + "..."
