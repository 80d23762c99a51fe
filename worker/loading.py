"""Loading a model into a machine that runs jobs.

Owns: the composition of an engine with the translation of jobs. Must not know: queues. torch and
transformers are imported here, when there is something to compute.
"""

import asyncio

from engine.config import EngineConfig
from worker.background import in_background
from worker.machine import Machine
from worker.names import new_consumer_name
from worker.shutdown import Shutdown

__all__ = ["load_in_background", "load_machine"]


async def load_in_background(
    config: EngineConfig, names: tuple[str, ...], shutdown: Shutdown
) -> Machine | None:
    """Load in a thread; None if the process is told to stop meanwhile. Raises EngineError."""
    loading = asyncio.ensure_future(in_background(lambda: load_machine(config, names)))
    stopping = asyncio.ensure_future(shutdown.stopping.wait())
    try:
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        return loading.result() if loading.done() else None
    finally:
        loading.cancel()
        stopping.cancel()


def load_machine(config: EngineConfig, names: tuple[str, ...]) -> Machine:
    """Build the engine and what translates for it. Takes seconds. Raises EngineError."""
    from engine.async_engine import AsyncEngine
    from engine.build import build_engine
    from engine.parsers.choice import answer_parser
    from worker.answers import AnswerWriter
    from worker.constraints import Constrainer
    from worker.identity import engine_identity
    from worker.sampling import ModelLimits
    from worker.translate import Translator

    parts = build_engine(config)
    info = parts.info
    consumer = new_consumer_name()
    parser = answer_parser(
        parts.tokenizer,
        parts.chat_template.source,
        tool_call_parser=config.model.tool_call_parser,
        reasoning=config.model.reasoning_parser,
    )
    translator = Translator(
        tokenizer=parts.tokenizer,
        template=parts.chat_template,
        limits=ModelLimits(
            max_model_len=info.max_model_len,
            vocab_size=info.vocab_size,
            eos_token_ids=info.eos_token_ids,
            defaults=info.generation_defaults,
        ),
        answers=AnswerWriter(parts.tokenizer, consumer, info.fingerprint, parser),
        identity=engine_identity(config, info.model_hash),
        seed=config.seed,
        constrainer=Constrainer(
            parts.constraints,
            parser.tool_parser.name if parser is not None and parser.tool_parser else None,
        ),
    )
    return Machine(
        engine=AsyncEngine(parts.core),
        translator=translator,
        consumer=consumer,
        names=names,
        max_num_seqs=config.scheduler.max_num_seqs,
        kv_cache_tokens=info.num_blocks * info.block_size,
        max_model_len=info.max_model_len,
        device=info.device,
        fingerprint=info.fingerprint,
    )
