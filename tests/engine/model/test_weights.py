import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.errors import ModelRefusedError
from engine.model.weights import summarize_weights, weight_files


def _save(path: Path) -> None:
    save_file(
        {
            "a": np.zeros((3, 5), np.float16),
            "b": np.zeros(4, np.float32),
            "ids": np.zeros(2, np.int64),
        },
        path,
    )


def test_one_file_or_the_shards_of_an_index_are_found(tmp_path: Path) -> None:
    index = {"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("a.safetensors", "b.safetensors"):
        _save(tmp_path / name)
    assert [f.name for f in weight_files(tmp_path, "m")] == ["a.safetensors", "b.safetensors"]
    _save(tmp_path / "model.safetensors")
    assert [f.name for f in weight_files(tmp_path, "m")] == ["model.safetensors"]


def test_parameters_are_counted_in_the_dtype_they_will_run_in(tmp_path: Path) -> None:
    _save(tmp_path / "model.safetensors")
    summary = summarize_weights(weight_files(tmp_path, "m"), "m")
    assert summary.num_parameters == 19
    assert summary.dtype == "F16"
    assert summary.num_bytes(2) == 19 * 2 + 16
    assert summary.num_bytes(4) == 19 * 4 + 16


@pytest.mark.parametrize(
    ("tensors", "culprit"),
    [
        ({"up.weight": np.int8, "up.bias": np.float32}, "up.weight is I8"),
        ({"up.weight": np.float16, "up.weight_scale": np.float32}, "up.weight_scale is F32"),
        ({"up.weight": np.float16, "up.weight_scale_inv": np.float32}, "up.weight_scale_inv is"),
        ({"up.qweight": np.int32, "up.scales": np.float16}, "up.qweight is I32"),
        ({"up.weight_packed": np.int32}, "up.weight_packed is I32"),
        ({"up.weight": np.uint8, "up.weight.absmax": np.uint8}, "up.weight is U8"),
    ],
)
def test_quantised_weights_are_known_by_their_names_and_types(
    tmp_path: Path, tensors: dict[str, type], culprit: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({key: np.zeros(4, dtype) for key, dtype in tensors.items()}, path)
    with pytest.raises(ModelRefusedError, match=rf"weights are quantised \({culprit}"):
        summarize_weights([path], "m")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "pickled"),
        ("consolidated.00.pth", "pickled"),
        ("model-q4.gguf", "GGUF"),
        ("README.md", "has no model.safetensors"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelRefusedError, match=reason):
        weight_files(tmp_path, "m")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelRefusedError, match=r"model-00001-of-00002.safetensors is missing"):
        weight_files(tmp_path, "m")


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelRefusedError, match=r"index.json is damaged"):
        weight_files(tmp_path, "m")


@pytest.mark.parametrize("kept_bytes", [0, 5, 40, -1])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "model.safetensors"
    _save(path)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(ModelRefusedError, match=r"model.safetensors is damaged"):
        summarize_weights([path], "m")


@pytest.mark.parametrize("header", [b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32"}}', b"nonsense"])
def test_a_header_that_makes_no_sense_is_refused(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelRefusedError, match=r"model.safetensors is damaged"):
        summarize_weights([path], "m")
