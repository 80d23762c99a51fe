from dataclasses import fields

import pytest

from worker.errors import SettingsError
from worker.library.settings import BatchSettings, EngineSettings, batch_options, engine_options
from worker.options import BatchOptions, EngineOptions, ModelOptions


def test_the_settings_are_the_flags() -> None:
    flags = {field.name for group in (ModelOptions, EngineOptions) for field in fields(group)}
    assert set(EngineSettings.__annotations__) == flags - {"model"}
    # A bad line of a Python program is its own row; there is no file to refuse.
    names = {field.name for field in fields(BatchOptions)}
    assert set(BatchSettings.__annotations__) == names - {"on_bad_line"}


def test_settings_become_options() -> None:
    model, engine = engine_options("demo", {"seed": 3, "kv_cache_memory_bytes": 1 << 20})
    assert (model.model, model.seed, engine.kv_cache_memory_bytes) == ("demo", 3, "1048576")
    assert batch_options({"dedupe": True}) == BatchOptions(dedupe=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_size": 4096}, "block_size=4096: it must be at most 1024"),
        ({"gpu_memory_utilization": 0}, "gpu_memory_utilization=0.0: it must be at least 0.01"),
        ({"kv_cache_dtype": "int8"}, "kv_cache_dtype='int8': Input should be 'auto' or 'fp8'"),
        ({"max_num_seqs": "many"}, "max_num_seqs='many': "),
        ({"seed": None}, "seed=None: "),
        ({"quantization": "int3"}, "quantization='int3': "),
        ({"zzz": 1}, "there is no setting zzz; there are revision, "),
        ({"blok_size": 1}, "did you mean block_size?"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        engine_options("demo", settings)
    assert message in str(raised.value)
