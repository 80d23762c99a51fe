import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.config import ModelConfig
from engine.errors import ModelRefusedError
from engine.model import load
from engine.model.load import LoadedModel, load_model
from tests.engine.tiny_models import VOCAB_SIZE, save_tiny_model, tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def folder(checkpoints: Path, tmp_path: Path) -> Path:
    """A checkpoint of its own, to be damaged."""
    return shutil.copytree(save_tiny_model("llama", checkpoints), tmp_path / "llama")


def _load(folder: Path, **settings: object) -> LoadedModel:
    return load_model(ModelConfig(model="tiny", **settings), folder, CPU)  # type: ignore[arg-type]


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refusal(folder: Path, **settings: object) -> str:
    with pytest.raises(ModelRefusedError) as caught:
        _load(folder, **settings)
    return str(caught.value)


def test_a_checkpoint_is_loaded_ready_to_run(folder: Path) -> None:
    loaded = _load(folder)
    assert loaded.vocab_size == VOCAB_SIZE
    assert loaded.max_model_len == 256
    assert loaded.dtype == torch.float32
    assert not loaded.module.training
    assert not any(parameter.requires_grad for parameter in loaded.module.parameters())
    assert loaded.weight_bytes == sum(p.nbytes for p in loaded.module.parameters())


@pytest.mark.parametrize(
    ("wanted", "dtype"),
    [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("half", torch.float16),
    ],
)
def test_weights_take_the_dtype_asked_for(folder: Path, wanted: str, dtype: torch.dtype) -> None:
    loaded = _load(folder, dtype=wanted)
    assert loaded.dtype == dtype
    assert {p.dtype for p in loaded.module.parameters()} == {dtype}
    assert loaded.weight_bytes == sum(p.nbytes for p in loaded.module.parameters())


def test_auto_is_what_the_config_says_else_what_the_files_hold(folder: Path) -> None:
    _edit_config(folder, dtype="float16")
    assert _load(folder).dtype == torch.float16
    _edit_config(folder, dtype=None)
    weights = load_file(folder / "model.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    assert _load(folder).dtype == torch.bfloat16


def test_sharded_weights_are_the_same_weights(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    state = _load(tmp_path).module.state_dict()
    for name, tensor in tiny_model("llama").state_dict().items():
        assert torch.equal(state[name], tensor), name


def test_a_shorter_context_is_taken_and_a_longer_one_refused(folder: Path) -> None:
    assert _load(folder, max_model_len=50).max_model_len == 50
    assert "--max-model-len 256 or less" in _refusal(folder, max_model_len=257)


def test_an_unknown_dtype_is_refused(folder: Path) -> None:
    assert "dtype 'int4' is not one of auto, bfloat16" in _refusal(folder, dtype="int4")


def test_missing_tensors_are_refused_instead_of_drawn_at_random(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its weights lack model.layers.1.mlp.up_proj.weight" in _refusal(folder)


def test_tensors_of_another_shape_are_refused(folder: Path) -> None:
    _edit_config(folder, intermediate_size=64)
    message = _refusal(folder)
    assert "its weights do not load: model.layers.0.mlp.down_proj.weight is [32, 48]" in message
    assert "by its config.json it would be [32, 64]" in message


@pytest.mark.parametrize(
    "changes", [{"rope_parameters": {"rope_type": "odd"}}, {"hidden_act": "odd"}]
)
def test_a_config_of_which_no_module_can_be_made_is_refused(
    folder: Path, changes: dict[str, object]
) -> None:
    _edit_config(folder, **changes)
    message = _refusal(folder)
    assert "transformers makes no LlamaForCausalLM of its config.json: KeyError(" in message
    assert "odd" in message
    assert "\n" not in message


def test_tensors_that_nobody_needs_are_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["adapter.extra"] = torch.zeros(1)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _load(folder)
    assert "1 tensors of no use, such as adapter.extra" in caplog.text


def test_damaged_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert "model.safetensors is damaged: it is cut off" in _refusal(folder)


def test_pickled_weights_are_refused_even_if_their_suffix_lies(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    assert "is damaged" in _refusal(folder)


def test_weights_that_do_not_fit_are_refused_before_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = _load(folder, dtype="bfloat16").weight_bytes

    def must_not_load(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(load, "available_memory_bytes", lambda _: needed)
    monkeypatch.setattr(load, "_load_weights", must_not_load)
    message = _refusal(folder, dtype="float32")
    assert "its weights take" in message
    assert "as float32, but" in message
    with pytest.raises(AssertionError, match="weights were read"):
        _load(folder, dtype="bfloat16")


def test_code_in_a_checkpoint_is_not_run(folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    (folder / "code.py").write_text(f"open({str(trap)!r}, 'w')")
    _edit_config(folder, model_type="custom", auto_map={"AutoConfig": "code.Config"})
    assert "code in checkpoints is not run" in _refusal(folder)
    assert not trap.exists()
