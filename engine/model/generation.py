"""The defaults a checkpoint recommends for sampling, and the tokens that end its answers.

Owns: generation_config.json and the EOS ids. Must not know: requests' own parameters (a request's
value wins over these, and these win over OpenAI's).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ModelRefusedError

__all__ = ["GenerationDefaults", "end_token_ids", "read_generation_defaults"]

_LARGEST = float(2**31)
_RANGES = {
    "temperature": (0.0, _LARGEST),
    "top_p": (0.0, 1.0),
    "top_k": (-1.0, _LARGEST),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (1 / _LARGEST, _LARGEST),
    "max_new_tokens": (0.0, _LARGEST),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDefaults:
    """Sampling defaults of a checkpoint; None where it recommends nothing.

    As in vLLM, `do_sample` is not looked at: a request that gives no temperature gets the
    checkpoint's, or OpenAI's 1.0, never silently greedy answers. `max_new_tokens` is the default of
    max_tokens.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None


def read_generation_defaults(folder: Path, name: str) -> GenerationDefaults:
    """The checkpoint's defaults; all None without a generation_config.json.

    Raises ModelRefusedError if the file is damaged or a value is one that no sampling can use.
    """
    raw = _read_json(folder / "generation_config.json", name)
    values: dict[str, Any] = {}
    for field in GenerationDefaults.__dataclass_fields__:
        value = raw.get(field)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelRefusedError(
                f"cannot run {name}: {field} in its generation_config.json is {value!r}, no number"
            )
        least, most = _RANGES[field]
        if not least <= value <= most:  # NaN is in no range
            raise ModelRefusedError(
                f"cannot run {name}: {field} in its generation_config.json is {value}, which is "
                "out of range"
            )
        values[field] = int(value) if field in ("top_k", "max_new_tokens") else float(value)
    if values.get("top_k") == -1:  # another way to say "off"
        values["top_k"] = 0
    return GenerationDefaults(**values)


def end_token_ids(
    folder: Path, name: str, config: Any, tokenizer_eos: int | None
) -> frozenset[int]:
    """The tokens that end an answer: those of generation_config.json (else of the config), and the
    tokenizer's EOS.
    """
    raw = _read_json(folder / "generation_config.json", name)
    listed = raw.get("eos_token_id", getattr(config, "eos_token_id", None))
    ids = set(_token_ids(listed))
    if tokenizer_eos is not None:
        ids.add(tokenizer_eos)
    return frozenset(ids)


def _token_ids(value: object) -> Iterable[int]:
    if isinstance(value, int):
        return [value]
    return [item for item in value if isinstance(item, int)] if isinstance(value, list) else []


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelRefusedError(f"cannot run {name}: {path.name} is damaged: {error}") from error
    if not isinstance(raw, dict):
        raise ModelRefusedError(f"cannot run {name}: {path.name} holds no JSON object")
    return raw
