"""Compares llguidance with xgrammar: compile time, mask time, coverage, hostile grammars.

    python -m bench.structured_output

Takes about two minutes on one core. xgrammar is no dependency of ours: `pip install --no-deps
xgrammar apache-tvm-ffi` first. The tables in docs/STRUCTURED.md are its output. Vocabularies
are made of the words of the standard library's sources, the same bytes for both; what a tokenizer
merges does not matter to a mask, only which byte strings its tokens are.
"""

import collections
import functools
import json
import multiprocessing
import re
import resource
import statistics
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.structured_cases import FEATURES, HOSTILE, SAMPLES

LIMIT_S = 5.0
VOCABULARIES = (2_000, 32_000, 150_000)


@functools.cache
def vocabulary(size: int) -> list[bytes]:
    """An end token, the 256 bytes, and the most frequent words and beginnings of words."""
    counts: collections.Counter[str] = collections.Counter()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for word in re.findall(r" ?\w+|[^\w\s]{1,4}|\s{1,16}", path.read_text(errors="ignore")):
            counts.update(word[:end] for end in range(2, min(len(word), 16) + 1))
    words = [word.encode() for word, _ in counts.most_common()]
    vocab = [b"</s>", *(bytes([i]) for i in range(256)), *words][:size]
    return vocab + [b" %d" % number for number in range(size - len(vocab))]


class LlGuidance:
    """llguidance 1.x."""

    def __init__(self, vocab: list[bytes]) -> None:
        import llguidance

        self.package = llguidance
        spec: Any = type("Spec", (), {})()
        spec.eos_token_id, spec.bos_token_id, spec.tokens = 0, None, vocab
        spec.special_token_ids = [0]
        wrapper = llguidance.TokenizerWrapper(_callable(spec))
        self.tokenizer = llguidance.LLTokenizer(wrapper)

    def compile(self, schema: Any) -> Any:
        options = {"json_allowed_escapes": 'nrbtf\\"', "whitespace_pattern": r"[ \n]{1,20}"}
        make = self.package.LLMatcher.grammar_from_json_schema
        grammar = make(json.dumps(schema), overrides=options)
        matcher = self.package.LLMatcher(self.tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled: Any) -> Any:
        return compiled.deep_copy()

    def fill(self, matcher: Any, row: Any) -> None:
        matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)

    def accept(self, matcher: Any, token: int) -> bool:
        return bool(matcher.consume_token(token))


class XGrammar:
    """xgrammar 0.2."""

    def __init__(self, vocab: list[bytes]) -> None:
        import torch
        import xgrammar

        self.package, self.from_numpy = xgrammar, torch.from_numpy
        info = xgrammar.TokenizerInfo(vocab, xgrammar.VocabType.RAW, stop_token_ids=[0])
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile(self, schema: Any) -> Any:
        return self.compiler.compile_json_schema(json.dumps(schema), strict_mode=False)

    def start(self, compiled: Any) -> Any:
        return self.package.GrammarMatcher(compiled)

    def fill(self, matcher: Any, row: Any) -> None:
        matcher.fill_next_token_bitmask(self.from_numpy(row[None]))

    def accept(self, matcher: Any, token: int) -> bool:
        return bool(matcher.accept_token(token))


ENGINES: dict[str, Callable[[list[bytes]], Any]] = {"llguidance": LlGuidance, "xgrammar": XGrammar}


def _callable(spec: Any) -> Any:
    kind = type("Tokenizer", (), {"__call__": lambda self, text: greedy_tokens(spec.tokens, text)})
    tokenizer = kind()
    tokenizer.__dict__.update(spec.__dict__)
    return tokenizer


@functools.cache
def _ids(size: int) -> dict[bytes, int]:
    return {token: index for index, token in reversed(list(enumerate(vocabulary(size))))}


def greedy_tokens(vocab: list[bytes], text: bytes) -> list[int]:
    """Tokens of a text, longest first."""
    ids = _ids(len(vocab))
    tokens, at = [], 0
    while at < len(text):
        end = next(e for e in range(min(len(text), at + 16), at, -1) if text[at:e] in ids)
        tokens.append(ids[text[at:end]])
        at = end
    return tokens


def speed(engine: str, size: int) -> str:
    """Load, compile and mask times with one vocabulary."""
    vocab = vocabulary(size)
    start_s = time.perf_counter()
    backend = ENGINES[engine](vocab)
    load_s = time.perf_counter() - start_s
    compile_ms, mask_us = [], []
    row = np.zeros(-(-size // 32), np.int32)
    for schema, value in SAMPLES:
        start_s = time.perf_counter()
        compiled = backend.compile(schema)
        matcher = backend.start(compiled)
        backend.fill(matcher, row)  # what is computed lazily counts as compiling
        compile_ms.append(1e3 * (time.perf_counter() - start_s))
        text = json.dumps(value, ensure_ascii=False).encode()
        for _ in range(3):
            matcher = backend.start(compiled)
            for token in greedy_tokens(vocab, text):
                start_s = time.perf_counter()
                backend.fill(matcher, row)
                mask_us.append(1e6 * (time.perf_counter() - start_s))
                assert row[token // 32] >> (token % 32) & 1, (engine, vocab[token])
                assert backend.accept(matcher, token)
    mask_us.sort()
    return (
        f"{load_s:.2f} s load, compile median {statistics.median(compile_ms):.1f} ms "
        f"(max {max(compile_ms):.1f}), mask median {statistics.median(mask_us):.0f} us, "
        f"p99 {mask_us[int(len(mask_us) * 0.99)]:.0f} us"
    )


def feature(engine: str, index: int) -> str:
    """Whether one feature is enforced, refused, or silently weakened."""
    vocab = vocabulary(257)
    backend = ENGINES[engine](vocab)
    _, schema, good, bad = FEATURES[index]
    try:
        compiled = backend.compile(schema)
    except Exception:  # noqa: BLE001 - each library has its own errors
        return "refused"
    is_good, is_bad = (_accepts(backend, compiled, text.encode()) for text in (good, bad))
    return "WEAKENED" if is_bad else "enforced" if is_good else "too strict"


def _accepts(backend: Any, compiled: Any, text: bytes) -> bool:
    matcher = backend.start(compiled)
    row = np.zeros(9, np.int32)
    for byte in text:
        backend.fill(matcher, row)
        if not row[(byte + 1) // 32] >> ((byte + 1) % 32) & 1:
            return False
        backend.accept(matcher, byte + 1)
    backend.fill(matcher, row)
    return bool(row[0] & 1)


def hostile(engine: str, index: int) -> str:
    """What one hostile schema costs until its first mask."""
    backend = ENGINES[engine](vocabulary(32_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row = np.zeros(1000, np.int32)
    start_s = time.perf_counter()
    try:
        matcher = backend.start(backend.compile(HOSTILE[index][1]))
        backend.fill(matcher, row)
        verdict = "runs" if row.any() else "no token"
    except Exception as error:  # noqa: BLE001 - each library has its own errors
        verdict = f"refused ({str(error).strip().splitlines()[0][:40]})"
    taken_ms = 1e3 * (time.perf_counter() - start_s)
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{verdict}, {taken_ms:.0f} ms, {grown_mib:.0f} MiB"


def _apart(work: Callable[..., str], *arguments: Any) -> str:
    """In a process of its own: a library may crash or never return."""
    pool = multiprocessing.get_context("spawn")
    queue: Any = pool.SimpleQueue()
    process = pool.Process(target=_answer, args=(queue, work, arguments))
    process.start()
    process.join(LIMIT_S * 20)  # a busy machine gives it only a part of the time
    if process.is_alive():
        process.kill()
        return f"no answer within {LIMIT_S:.0f} s"
    return queue.get() if process.exitcode == 0 else f"CRASH (exit code {process.exitcode})"


def _answer(queue: Any, work: Callable[..., str], arguments: tuple[Any, ...]) -> None:
    # The tokenizer and imports take a second or two of processor time besides.
    resource.setrlimit(resource.RLIMIT_CPU, (int(LIMIT_S) + 5, int(LIMIT_S) + 6))
    queue.put(work(*arguments))


def _all_features(engine: str) -> str:
    return json.dumps([feature(engine, index) for index in range(len(FEATURES))])


def main() -> None:
    """Print all of it, line by line."""
    for size in VOCABULARIES:
        for engine in ENGINES:
            print(f"vocabulary {size:>7,}  {engine:<11} {_apart(speed, engine, size)}", flush=True)
    verdicts = {engine: json.loads(_apart(_all_features, engine)) for engine in ENGINES}
    for index, (name, *_) in enumerate(FEATURES):
        print(f"{name:<30}" + "".join(f" {verdicts[e][index]:<12}" for e in ENGINES))
    for index, (name, _) in enumerate(HOSTILE):
        for engine in ENGINES:
            print(f"{name:<30} {engine:<11} {_apart(hostile, engine, index)}", flush=True)


if __name__ == "__main__":
    main()
