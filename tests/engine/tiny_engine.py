"""The real engine around a tiny model: scheduler, cache manager, runner, kernels."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.block_pool import BlockPool
from engine.cache_dtype import stored_layers
from engine.config import ModelConfig, SchedulerConfig
from engine.core import EngineCore
from engine.cuda_graphs import Recorder
from engine.executor import InProcessExecutor
from engine.kv_cache import KVCache
from engine.kv_cache_manager import KVCacheManager
from engine.model.experts import replace_experts
from engine.model.load import LoadedModel, load_model
from engine.model.replace import replace_decoder
from engine.model_runner import ModelRunner
from engine.request import Request, SamplingParams, StopRules
from engine.scheduler import Scheduler
from tests.engine.tiny_models import save_tiny_model

__all__ = ["TinyEngine", "load_tiny", "make_request", "tiny_engine"]

CPU = torch.device("cpu")


def load_tiny(
    family: str,
    checkpoints: Path,
    dtype: str = "auto",
    *,
    is_replaced: bool = True,
    device: torch.device = CPU,
    quantization: str | None = None,
) -> LoadedModel:
    """A tiny model as the engine runs it; as transformers loads it without `is_replaced`."""
    folder = save_tiny_model(family, checkpoints)
    config = ModelConfig(model=family, dtype=dtype, quantization=quantization)
    loaded = load_model(config, folder, device)
    if is_replaced:
        replace_decoder(loaded.module, device)
        replace_experts(loaded.module)
    return loaded


def make_request(
    request_id: str,
    prompt: list[int],
    max_tokens: int,
    sampling: SamplingParams | None = None,
    choice_index: int = 0,
) -> Request:
    """A request that runs to `max_tokens`; greedy unless it says otherwise."""
    return Request(
        request_id=request_id,
        prompt_token_ids=prompt,
        sampling=sampling or SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=max_tokens),
        choice_index=choice_index,
    )


@dataclass
class TinyEngine:
    core: EngineCore
    scheduler: Scheduler

    def run(self, requests: Iterable[Request]) -> dict[str, list[int]]:
        """Run the requests together; their output tokens by id."""
        requests = list(requests)
        for request in requests:
            self.core.add(request)
        while self.core.has_work:
            self.core.step()
            self.scheduler.check_integrity()
        assert not [r.error for r in requests if r.error]
        return {request.request_id: request.output_token_ids for request in requests}


@contextmanager
def tiny_engine(
    loaded: LoadedModel,
    *,
    num_blocks: int = 64,
    block_size: int = 8,
    max_num_batched_tokens: int = 64,
    max_num_seqs: int = 64,
    max_in_flight: int = 1,
    max_num_scored_tokens: int = 256,
    recorder: Recorder | None = None,
    kv_cache_dtype: str = "auto",
) -> Iterator[TinyEngine]:
    layers = stored_layers(loaded.layers.values(), kv_cache_dtype)
    cache = KVCache(layers, num_blocks=num_blocks, block_size=block_size, device=loaded.device)
    pool = BlockPool(num_blocks)
    scheduler = Scheduler(
        SchedulerConfig(
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
            max_num_scored_tokens=max_num_scored_tokens,
        ),
        KVCacheManager(pool, block_size),
        max_model_len=loaded.max_model_len,
    )
    runner = ModelRunner(
        loaded, cache, max_num_seqs=max_num_seqs, is_ahead=max_in_flight > 1, recorder=recorder
    )
    executor = InProcessExecutor(runner, max_in_flight=max_in_flight)
    core = EngineCore(
        scheduler,
        executor,
        max_model_len=loaded.max_model_len,
        kv_cache_usage=lambda: pool.usage,
    )
    try:
        yield TinyEngine(core, scheduler)
    finally:
        core.shutdown()
