"""Each checkpoint that cannot run is refused by name, before a weight is read."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from engine.config import ModelConfig
from engine.errors import ModelRefusedError
from engine.model.load import load_model
from engine.model.refusals import check_config, read_config

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **SMALL}


def _refusal(folder: Path, config: Any) -> str:
    """What loading a folder without any weights says: weights come after all these checks."""
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelRefusedError) as caught:
        load_model(ModelConfig(model="some-model"), folder, CPU)
    message = str(caught.value)
    assert message.startswith("cannot run some-model: ")
    return message


def test_the_control_case_gets_as_far_as_its_weights(tmp_path: Path) -> None:
    assert "has no model.safetensors" in _refusal(tmp_path, LLAMA)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantization_config": {"quant_method": "awq"}}, "its weights are quantised (awq)"),
        ({"quantization_config": {"bits": 4}}, "quantised (unknown method)"),
        ({"compression_config": {"quant_method": "sparse"}}, "quantised (sparse)"),
        ({"vision_config": {"depth": 2}}, "multimodal (its config has settings for vision)"),
        ({"audio_config": {"depth": 2}}, "multimodal (its config has settings for audio)"),
        ({"is_encoder_decoder": True}, "llama is an encoder-decoder model"),
        (
            {"architectures": ["LlavaForConditionalGeneration"]},
            "LlavaForConditionalGeneration is multimodal or an encoder-decoder",
        ),
        (
            {"architectures": ["LlamaForSequenceClassification"]},
            "LlamaForSequenceClassification is not a causal language model",
        ),
        ({"model_type": "nonesuch"}, "knows no model type 'nonesuch'"),
        (
            {"model_type": "nonesuch", "auto_map": {"AutoConfig": "code.Config"}},
            "'nonesuch' needs code of its own, and code in checkpoints is not run",
        ),
        ({"model_type": None}, "names no model_type"),
        ({"hidden_size": "wide"}, "its config.json is damaged"),
        ({"num_attention_heads": 0}, "its config.json is damaged"),
        ({"model_type": "whisper", "architectures": None}, "encoder-decoder model"),
        ({"model_type": "bloom", "architectures": None}, "not written for transformers' attention"),
        ({"model_type": "vit", "architectures": None}, "vit is no language model"),
    ],
)
def test_what_the_config_shows_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    assert reason in _refusal(tmp_path, {**LLAMA, **changes})


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("Mamba", "MambaForCausalLM has layers other than plain attention: linear_attention"),
        ("Qwen3Next", "Qwen3NextForCausalLM has layers other than plain attention"),
        ("Jamba", "JambaForCausalLM has layers other than plain attention"),
        ("RecurrentGemma", "RecurrentGemmaForCausalLM has layers other than plain attention"),
        ("Lfm2", "Lfm2ForCausalLM has layers other than plain attention: conv"),
        ("Llama4Text", "Llama4ForCausalLM uses chunked attention, which is not supported yet"),
        ("Falcon", "FalconForCausalLM is not written for transformers' attention interface"),
        ("Rwkv", "RwkvForCausalLM is not written for transformers' attention interface"),
        ("Gemma3", "multimodal (its config has settings for vision)"),
        ("T5", "encoder-decoder"),
    ],
)
def test_families_we_cannot_run_are_refused_by_name(
    tmp_path: Path, config: str, reason: str
) -> None:
    settings = {"full_attn_idxs": [2]} if config == "Lfm2" else {}
    getattr(transformers, f"{config}Config")(**settings).save_pretrained(tmp_path)
    assert reason in _refusal(tmp_path, (tmp_path / "config.json").read_text())


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "damaged"), ("[]", "holds no JSON object"), ("", "damaged"), ('{"a": 1}', "model_type")],
)
def test_a_damaged_config_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in _refusal(tmp_path, text)


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError, match=r"has no config.json"):
        read_config(tmp_path, "some-model")


@pytest.mark.parametrize(
    ("file", "reason"),
    [("adapter_config.json", "it is an adapter; merge it"), ("m-Q4.gguf", "in GGUF format")],
)
def test_what_is_there_instead_of_a_config_is_named(tmp_path: Path, file: str, reason: str) -> None:
    (tmp_path / file).write_bytes(b"{}")
    with pytest.raises(ModelRefusedError, match=reason):
        read_config(tmp_path, "some-model")


def test_an_unreadable_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelRefusedError, match="cannot be read"):
        read_config(tmp_path, "some-model")


def test_an_ordinary_config_is_not_refused() -> None:
    check_config(LLAMA, "some-model")
    check_config({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "some-model")
    check_config({"model_type": "llama", "vision_config": None}, "some-model")
