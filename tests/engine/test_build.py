"""The whole engine around the demo model."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.build import EngineParts, build_engine
from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.errors import CacheSizeError, EngineError, ModelRefusedError
from engine.request import FinishReason, Request, SamplingParams, StopRules

ROOT = Path(__file__).parents[2]
SMALL_CACHE = CacheConfig(num_blocks=256)


@pytest.fixture(scope="module")
def parts(random_folder: Path) -> EngineParts:
    model = ModelConfig(model=str(random_folder))
    return build_engine(EngineConfig(model=model, cache=SMALL_CACHE))


def _answer(parts: EngineParts, text: str, *, max_tokens: int = 12) -> Request:
    prompt = parts.chat_template.render([{"role": "user", "content": text}])
    request = Request(
        request_id=text,
        prompt_token_ids=parts.tokenizer.encode_prompt(prompt),
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=max_tokens, eos_token_ids=parts.info.eos_token_ids),
    )
    parts.core.add(request)
    while parts.core.has_work:
        parts.core.step()
    return request


def test_a_chat_message_gets_an_answer(parts: EngineParts) -> None:
    request = _answer(parts, "hello")
    assert request.finish_reason in (FinishReason.LENGTH, FinishReason.STOP)
    assert request.error is None
    assert parts.tokenizer.decode(request.output_token_ids)
    assert parts.core.stats().kv_cache_usage == 0.0


def test_the_facts_about_the_engine(parts: EngineParts, random_folder: Path) -> None:
    info = parts.info
    assert info.model_path == random_folder
    assert (info.dtype, info.quantization) == ("float32", None)
    assert info.device == "cpu"
    assert info.max_model_len == 4096
    assert info.vocab_size == len(parts.tokenizer) == 2048
    assert (info.num_blocks, info.block_size) == (256, 16)
    assert info.kv_cache_bytes == 256 * 16 * 4 * 2 * 2 * 32 * 4
    assert info.kv_cache_dtype == "float32"
    assert info.eos_token_ids == {0, 2}
    assert info.generation_defaults.temperature is None
    assert info.fingerprint.startswith("fp_")
    assert len(info.model_hash) == 32


def test_the_cache_is_sized_from_memory_and_holds_a_request(random_folder: Path) -> None:
    config = EngineConfig(
        model=ModelConfig(model=str(random_folder), max_model_len=1000),
        scheduler=SchedulerConfig(max_num_seqs=3),
    )
    parts = build_engine(config)
    assert parts.info.max_model_len == 1000
    assert parts.info.num_blocks == 3 * 63
    parts.core.shutdown()


def test_a_cache_too_small_for_one_request_is_refused(random_folder: Path) -> None:
    config = EngineConfig(
        model=ModelConfig(model=str(random_folder)),
        cache=CacheConfig(kv_cache_memory_bytes=2**20),
    )
    with pytest.raises(CacheSizeError, match="lower --max-model-len to 512 or less"):
        build_engine(config)


def test_another_template_is_taken(random_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_text("{{ messages[0].content }}!")
    model = ModelConfig(model=str(random_folder), chat_template=str(path))
    parts = build_engine(EngineConfig(model=model, cache=SMALL_CACHE))
    assert parts.chat_template.render([{"role": "user", "content": "hi"}]) == "hi!"
    parts.core.shutdown()


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (ModelConfig(model="/no/such/folder"), ModelRefusedError),
        (ModelConfig(device="cuda:99"), EngineError),
        (ModelConfig(chat_template="/no/such/template"), EngineError),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(
    model: ModelConfig, error: type[EngineError]
) -> None:
    with pytest.raises(error) as caught:
        build_engine(EngineConfig(model=model))
    assert "\n" not in str(caught.value)


def test_bfloat16_runs(random_folder: Path) -> None:
    model = ModelConfig(model=str(random_folder), dtype="bfloat16")
    parts = build_engine(EngineConfig(model=model, cache=SMALL_CACHE))
    assert parts.info.dtype == "bfloat16"
    assert _answer(parts, "hello").num_output_tokens > 0
    parts.core.shutdown()


@pytest.mark.parametrize(
    ("dtype", "quantization", "has_units", "is_told"),
    [
        ("bfloat16", None, False, True),
        ("bfloat16", None, True, False),
        ("float32", None, False, False),
        ("bfloat16", "int8", False, False),
    ],
)
def test_a_processor_that_cannot_multiply_bfloat16_is_told_of_once(
    dtype: str, quantization: str | None, has_units: bool, is_told: bool, random_folder: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr("engine.build.multiplies_bfloat16", lambda _: has_units)
    model = ModelConfig(model=str(random_folder), dtype=dtype, quantization=quantization)
    parts = build_engine(EngineConfig(model=model, cache=SMALL_CACHE))
    parts.core.shutdown()
    told = [message for message in caplog.messages if "--dtype float32" in message]
    assert len(told) == is_told


def test_a_cache_of_8_bit_floats_runs_and_holds_four_times_as_much(random_folder: Path) -> None:
    config = EngineConfig(
        model=ModelConfig(model=str(random_folder), max_model_len=100),
        cache=CacheConfig(kv_cache_memory_bytes=2**20),
    )
    parts = build_engine(config)
    in_eight_bits = replace(config, cache=replace(config.cache, kv_cache_dtype="fp8"))
    smaller = build_engine(in_eight_bits)
    assert smaller.info.num_blocks == 4 * parts.info.num_blocks
    assert smaller.info.kv_cache_bytes == parts.info.kv_cache_bytes == 2**20
    assert smaller.info.kv_cache_dtype == "float8_e4m3fn"
    assert smaller.info.fingerprint != parts.info.fingerprint
    assert _answer(smaller, "hello").num_output_tokens > 0
    for each in (parts, smaller):
        each.core.shutdown()


def test_an_unknown_format_of_the_cache_is_refused() -> None:
    with pytest.raises(EngineError, match="--kv-cache-dtype 'int8': use auto or fp8"):
        build_engine(EngineConfig(cache=CacheConfig(kv_cache_dtype="int8")))


def test_the_other_package_called_kernels_is_told_about_before_anything_breaks(
    tmp_path: Path, random_folder: Path
) -> None:
    """transformers would import it, find ours, and die of an ImportError somewhere inside."""
    metadata = tmp_path / "kernels-0.18.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.18.2\n")
    code = (
        "import sys\n"
        "from engine.build import build_engine\n"
        "from engine.config import EngineConfig, ModelConfig\n"
        "from engine.errors import EngineError\n"
        "try:\n"
        "    build_engine(EngineConfig(model=ModelConfig(model=sys.argv[1])))\n"
        "except EngineError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(random_folder)],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "pip uninstall kernels" in result.stdout
    assert result.stdout.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_answer_comes_from_a_cuda_device(parts: EngineParts, random_folder: Path) -> None:
    model = ModelConfig(model=str(random_folder), device="cuda")
    on_cuda = build_engine(EngineConfig(model=model, cache=SMALL_CACHE))
    assert on_cuda.info.device == "cuda:0"
    expected = _answer(parts, "what is the weather in Paris?")
    got = _answer(on_cuda, "what is the weather in Paris?")
    assert got.output_token_ids == expected.output_token_ids
    on_cuda.core.shutdown()
