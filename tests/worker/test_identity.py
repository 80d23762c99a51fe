from dataclasses import replace
from pathlib import Path

from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from worker.identity import engine_identity


def identity(**model: object) -> str:
    return engine_identity(EngineConfig(model=ModelConfig(**model)), "hash")  # type: ignore[arg-type]


def test_what_changes_tokens_changes_the_identity(tmp_path: Path) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("one")
    known = {
        identity(),
        identity(dtype="float32"),
        identity(quantization="int8"),
        identity(max_model_len=99),
        identity(chat_template=str(template)),
        engine_identity(EngineConfig(seed=1), "hash"),
        engine_identity(EngineConfig(deterministic=True), "hash"),
        engine_identity(EngineConfig(cache=CacheConfig(kv_cache_dtype="fp8")), "hash"),
        engine_identity(EngineConfig(), "another"),
    }
    template.write_text("two")
    known.add(identity(chat_template=str(template)))
    known |= {identity(tool_call_parser="hermes"), identity(reasoning_parser="hermes")}
    assert len(known) == 12


def test_how_much_runs_at_a_time_does_not() -> None:
    config = EngineConfig()
    other = replace(config, scheduler=SchedulerConfig(max_num_seqs=3))
    assert engine_identity(config, "hash") == engine_identity(other, "hash")


def test_where_it_runs_does_not() -> None:
    assert identity(device="cpu", model="a") == identity(device="cuda:1", model="b")
