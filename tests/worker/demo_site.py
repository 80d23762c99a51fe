"""The demo model with the translation of jobs in front of it, without queues and threads."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers

from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.core import EngineCore
from jobs.queue import Lease
from tests.random_model import build_random_model
from worker.job import HeldJob
from worker.loading import load_machine

__all__ = ["DemoSite"]


class DemoSite:
    """Answers bodies as a worker would. `reference` is transformers' own model, in float32."""

    def __init__(self, folder: Path, **scheduler: int) -> None:
        build_random_model(folder)
        self._folder = folder
        config = EngineConfig(
            model=ModelConfig(model=str(folder), max_model_len=512),
            cache=CacheConfig(num_blocks=256),
            scheduler=SchedulerConfig(**scheduler),
        )
        machine = load_machine(config, ("demo",))
        self.translator = machine.translator
        self.core: EngineCore = machine.engine._core  # stepped by hand: no thread is started

    @cached_property
    def reference(self) -> Any:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=torch.float32, attn_implementation="eager"
        )
        return model.eval()

    def encode(self, text: str) -> list[int]:
        return self.translator.tokenizer.encode_text(text)

    def log_softmax(self, token_ids: list[int]) -> torch.Tensor:
        """[tokens - 1, V]: the distribution of each token but the first."""
        with torch.inference_mode():
            logits = self.reference(torch.tensor([token_ids]), use_cache=False).logits[0, :-1]
        distribution: torch.Tensor = logits.float().log_softmax(-1)
        return distribution

    def run(self, url: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer."""
        job = self._job(url, body)
        self.translator.prepare([job])
        if job.prepared is None:
            assert job.refusal is not None
            status = job.refusal.status_code
            assert status is not None
            return status, json.loads(job.refusal.response_json or "")
        for request in job.prepared.requests:
            if not request.is_finished:
                self.core.add(request)
        while self.core.has_work:
            self.core.step()
        row = self.translator.answer(job)
        assert row.status_code == 200
        return 200, json.loads(row.response_json or "")

    def _job(self, url: str, body: dict[str, Any]) -> HeldJob:
        lease = Lease(
            batch_id="batch",
            model="demo",
            entry_id="1-0",
            attempt=1,
            idx=0,
            custom_id="mine",
            url=url,
            cost_tokens=10,
            body=json.dumps(body).encode(),
            enqueued_ms=1_700_000_000_000,
            progress=b"",
            fence=1,
        )
        return HeldJob(lease=lease, leased_s=0.0, queue_s=0.0)
