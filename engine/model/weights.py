"""A checkpoint's safetensors files, looked at without loading them.

Owns: finding them, reading their headers, adding up their size. Must not know: models, devices.
Pickled weights are refused: loading them would run whatever code they carry.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelRefusedError

__all__ = ["WeightsSummary", "summarize_weights", "weight_files"]

_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
# Float models have neither weights in integers nor scales for them. Some quantised checkpoints tell
# of it in their tensors' names only, and their weights load, as numbers that mean something else.
_INTEGERS = ("I8", "U8", "I16", "I32", "I64")
_QUANTIZED = (".qweight", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".SCB")
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit


@dataclass(frozen=True, slots=True)
class WeightsSummary:
    """`num_parameters` are floating point and take the dtype the model runs in; `other_bytes` stay
    as they are. `dtype` is the name in the file of most parameters: "BF16".
    """

    num_parameters: int
    other_bytes: int
    dtype: str

    def num_bytes(self, bytes_per_parameter: int) -> int:
        return self.num_parameters * bytes_per_parameter + self.other_bytes


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a checkpoint, sorted. Raises ModelRefusedError if some are missing,
    or the weights are in another format.
    """
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if single.exists():
        return [single]
    if not index.exists():
        if any(folder.glob("*.bin")) or any(folder.glob("*.pth")):
            reason = "its weights are pickled (.bin); only safetensors are loaded"
        elif any(folder.glob("*.gguf")):
            reason = "its weights are in GGUF format; only safetensors are loaded"
        else:
            reason = f"{folder} has no model.safetensors"
        raise ModelRefusedError(f"cannot run {name}: {reason}")
    try:
        shards = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelRefusedError(f"cannot run {name}: {index.name} is damaged") from error
    if missing := [shard for shard in shards if not (folder / shard).exists()]:
        raise ModelRefusedError(f"cannot run {name}: {', '.join(missing)} is missing")
    return [folder / shard for shard in shards]


def summarize_weights(files: list[Path], name: str) -> WeightsSummary:
    """Add up the tensors in the files' headers. Raises ModelRefusedError for a damaged file and for
    quantised weights.
    """
    counts: dict[str, int] = {}
    other_bytes = 0
    for path in files:
        try:
            tensors = _read_header(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelRefusedError(
                f"cannot run {name}: {path.name} is damaged: {error}"
            ) from error
        for key, dtype, num_bytes in tensors:
            if key.endswith(_QUANTIZED) or (key.endswith(".weight") and dtype in _INTEGERS):
                raise ModelRefusedError(
                    f"cannot run {name}: its weights are quantised ({key} is {dtype})"
                )
            if dtype in _FLOAT_BYTES:
                counts[dtype] = counts.get(dtype, 0) + num_bytes // _FLOAT_BYTES[dtype]
            else:
                other_bytes += num_bytes
    dtype = max(counts, key=lambda key: counts[key], default="F32")
    return WeightsSummary(sum(counts.values()), other_bytes, dtype)


def _read_header(path: Path) -> list[tuple[str, str, int]]:
    """(name, dtype, bytes) of each tensor; ValueError for a file that is shorter than it says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes <= min(size - 8, _MAX_HEADER_BYTES):
            raise ValueError("it is no safetensors file, or is cut off")
        header = json.loads(file.read(header_bytes))
    tensors = [
        (
            key,
            entry["dtype"],
            entry["data_offsets"][1] - entry["data_offsets"][0],
            entry["data_offsets"][1],
        )
        for key, entry in header.items()
        if key != "__metadata__"
    ]
    end = max((end for *_, end in tensors), default=0)
    if 8 + header_bytes + end > size:
        raise ValueError("it is cut off")
    return [(key, dtype, num_bytes) for key, dtype, num_bytes, _ in tensors]
