from pathlib import Path

import pytest

from worker import cli
from worker.errors import SettingsError
from worker.options import EngineOptions, ModelOptions, byte_size, engine_config


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1234", 1234),
        ("2GB", 2_000_000_000),
        ("2GiB", 2 * 2**30),
        ("1.5k", 1500),
        ("512 MiB", 512 * 2**20),
    ],
)
def test_byte_sizes(text: str, size: int) -> None:
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "-1", "1XB", "GB"])
def test_a_bad_size_names_the_flag(text: str) -> None:
    with pytest.raises(SettingsError, match="--kv-cache-memory-bytes"):
        engine_config(ModelOptions(), EngineOptions(kv_cache_memory_bytes=text))


def test_the_engine_gets_what_the_flags_say(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("x")
    config = engine_config(
        ModelOptions(
            model="m",
            dtype="half",
            quantization="int8",
            device="cuda:1",
            max_model_len=99,
            chat_template=template,
            seed=7,
        ),
        EngineOptions(
            max_num_seqs=3,
            max_num_batched_tokens=17,
            block_size=8,
            kv_cache_memory_bytes="1MB",
            kv_cache_dtype="fp8",
            enable_prefix_caching=False,
            enforce_eager=True,
        ),
    )
    assert config.model.dtype == "float16"
    assert config.model.quantization == "int8"
    assert config.model.device == "cuda:1"
    assert config.model.max_model_len == 99
    assert config.model.chat_template == str(template)
    assert config.scheduler.max_num_seqs == 3
    assert config.scheduler.max_num_batched_tokens == 17
    assert config.cache.block_size == 8
    assert config.cache.kv_cache_memory_bytes == 1_000_000
    assert config.cache.kv_cache_dtype == "fp8"
    assert not config.cache.enable_prefix_caching
    assert config.enforce_eager
    assert config.seed == 7


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "CPU", ""])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(SettingsError, match="--device"):
        engine_config(ModelOptions(device=device), EngineOptions())


def test_a_missing_template_is_refused() -> None:
    with pytest.raises(SettingsError, match="--chat-template"):
        engine_config(ModelOptions(chat_template=Path("/does/not/exist")), EngineOptions())


def test_parsers_go_by_name() -> None:
    config = engine_config(
        ModelOptions(tool_call_parser="mistral", reasoning_parser="none"), EngineOptions()
    )
    assert (config.model.tool_call_parser, config.model.reasoning_parser) == ("mistral", "none")
    config = engine_config(ModelOptions(tool_call_parser="auto"), EngineOptions())
    assert (config.model.tool_call_parser, config.model.reasoning_parser) == (None, None)


def test_an_unknown_parser_names_the_flag_and_those_there_are() -> None:
    with pytest.raises(SettingsError, match=r"--tool-call-parser 'qwen9'.*none, auto or .*hermes"):
        engine_config(ModelOptions(tool_call_parser="qwen9"), EngineOptions())
    with pytest.raises(SettingsError, match=r"--reasoning-parser 'hermes'.*deepseek_r1"):
        engine_config(ModelOptions(reasoning_parser="hermes"), EngineOptions())


@pytest.mark.parametrize("command", ["run", "worker", "enqueue", "status", "results", "cancel"])
def test_only_run_says_that_it_starts_a_server_of_its_own(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert ("server of its own" in text) is (command == "run")
    assert ("HEADRACE_REDIS; default: (required)" in text) is (command != "run")
