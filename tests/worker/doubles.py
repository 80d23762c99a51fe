"""A machine that runs jobs without a model: the real scheduler, cache manager, core, async engine
and translator over a fake executor and a byte tokenizer."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from engine.async_engine import AsyncEngine
from engine.block_pool import BlockPool
from engine.config import SchedulerConfig
from engine.core import EngineCore
from engine.kv_cache_manager import KVCacheManager
from engine.model.generation import GenerationDefaults
from engine.scheduler import Scheduler
from engine.step import StepPlan, StepResult
from engine.structured_output.factory import ConstraintFactory
from tests.fakes import FakeExecutor
from worker.answers import AnswerWriter
from worker.constraints import Constrainer
from worker.machine import Machine
from worker.names import new_consumer_name
from worker.sampling import ModelLimits
from worker.translate import Translator

EOS = 0
BLOCK_SIZE = 16


class TextTokenTexts:
    """The texts of `TextTokenizer`'s tokens."""

    def bytes_of(self, token_id: int) -> bytes:
        return b"<eos>" if token_id == EOS else bytes([token_id])

    def text_of(self, token_id: int) -> str:
        return self.bytes_of(token_id).decode("utf-8", "backslashreplace")


class TextTokenizer:
    """One token per UTF-8 byte. Token 0 is EOS and special; token 1 begins every plain text."""

    texts = TextTokenTexts()
    special_token_ids = frozenset({EOS})
    added_token_ids: Mapping[str, int] = {}
    hf_tokenizer = None

    def __len__(self) -> int:
        return 256

    def encode_prompt(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_text(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return ([1] if add_special_tokens else []) + list(text.encode())

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = True) -> str:
        kept = [token for token in token_ids if token != EOS or not skip_special_tokens]
        return bytes(kept).decode(errors="replace")


class TextTemplate:
    """role: content, a line each; refuses a message that says BOOM."""

    def render(self, messages: list[dict[str, Any]], tools: Any = None, *, options: Any) -> str:
        from engine.errors import RequestError

        text = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        if "BOOM" in text:
            raise RequestError("The chat template cannot render these messages", param="messages")
        if "BUG" in text:
            raise KeyError("a bug of ours")
        return text + ("assistant: " if options.add_generation_prompt else "")


class ScriptedExecutor:
    """Answers every request with the letters a, b, c... by position, at once or one step for each
    `allow`. `gate` closed makes a step hang."""

    def __init__(self) -> None:
        self.max_in_flight = 1
        self.gate = threading.Event()
        self.gate.set()
        self.num_rows: list[int] = []
        self.failing_text = b"KILL-STEP"
        self._tokens: dict[str, list[int]] = {}
        self._lengths: dict[str, int] = {}

    def submit(self, plan: StepPlan) -> StepResult:
        self.gate.wait()
        self.num_rows.append(len(plan.rows))
        for request_id in plan.dropped_request_ids:
            self._tokens.pop(request_id, None)
            self._lengths.pop(request_id, None)
        for new in plan.new_requests:
            self._tokens[new.request_id] = new.token_ids
            self._lengths[new.request_id] = new.num_prompt_tokens
        sampled: dict[str, list[int]] = {}
        for row in plan.rows:
            if self.failing_text in bytes(self._tokens[row.request_id]):
                raise RuntimeError("injected failure")
            if row.logit_positions:
                position = row.logit_positions[-1] + 1 - self._lengths[row.request_id]
                sampled[row.request_id] = [ord("a") + position % 26]
        return StepResult(plan.step_id, sampled)

    def collect(self, handle: StepResult) -> StepResult:
        return handle

    def shutdown(self) -> None:
        self.gate.set()


def fake_machine(
    executor: ScriptedExecutor | FakeExecutor | None = None,
    *,
    names: Iterable[str] = ("m",),
    max_num_seqs: int = 8,
    max_model_len: int = 256,
    num_blocks: int = 512,
    identity: str = "identity",
    seed: int = 0,
    defaults: GenerationDefaults | None = None,
) -> Machine:
    """A machine over `executor` (a ScriptedExecutor by default)."""
    pool = BlockPool(num_blocks, enable_caching=True)
    cache = KVCacheManager(pool, BLOCK_SIZE, enable_caching=True)
    scheduler = Scheduler(
        SchedulerConfig(max_num_seqs=max_num_seqs, max_num_batched_tokens=4096),
        cache,
        max_model_len=max_model_len,
    )
    core = EngineCore(
        scheduler,
        executor or ScriptedExecutor(),
        max_model_len=max_model_len,
        kv_cache_usage=lambda: pool.usage,
    )
    consumer = new_consumer_name()
    return Machine(
        engine=AsyncEngine(core),
        translator=fake_translator(
            consumer=consumer,
            max_model_len=max_model_len,
            identity=identity,
            seed=seed,
            defaults=defaults,
        ),
        consumer=consumer,
        names=tuple(names),
        max_num_seqs=max_num_seqs,
        kv_cache_tokens=num_blocks * BLOCK_SIZE,
        max_model_len=max_model_len,
        device="cpu",
        fingerprint="fp_fake",
    )


def fake_translator(
    *,
    consumer: str = "me",
    max_model_len: int = 256,
    identity: str = "identity",
    seed: int = 0,
    defaults: GenerationDefaults | None = None,
) -> Translator:
    tokenizer: Any = TextTokenizer()
    template: Any = TextTemplate()
    return Translator(
        tokenizer=tokenizer,
        template=template,
        limits=ModelLimits(
            max_model_len=max_model_len,
            vocab_size=256,
            eos_token_ids=frozenset({EOS}),
            defaults=defaults or GenerationDefaults(),
        ),
        answers=AnswerWriter(tokenizer, consumer, "fp_fake"),
        identity=identity,
        seed=seed,
        constrainer=Constrainer(
            ConstraintFactory(tokenizer, vocab_size=256, eos_token_ids=frozenset({EOS}))
        ),
    )
