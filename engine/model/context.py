"""How many tokens a model can attend over.

Owns: reading that from a config, and checking what the user asks for. Must not know: memory.
"""

from typing import Any

from engine.errors import ModelRefusedError

__all__ = ["resolve_max_model_len"]

# Configs that state no limit (relative positions) still get one, so that the cache can be sized.
_DEFAULT_LIMIT = 32_768
_LIMIT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


def resolve_max_model_len(config: Any, wanted: int | None, name: str) -> int:
    """The context limit in tokens: the model's own, or the shorter one that the user wants.

    Raises ModelRefusedError if the user wants more than the model was made for: beyond it answers
    are noise, or positions do not exist at all.
    """
    limit = _model_limit(config)
    if wanted is None:
        return limit
    if wanted < 2:
        raise ModelRefusedError(
            f"cannot run {name}: max_model_len is {wanted}, but a prompt and its answer need 2"
        )
    if wanted > limit:
        raise ModelRefusedError(
            f"cannot run {name}: max_model_len is {wanted}, but the model was made for {limit} "
            f"tokens; use --max-model-len {limit} or less"
        )
    return wanted


def _model_limit(config: Any) -> int:
    limits = [getattr(config, field, None) for field in _LIMIT_FIELDS]
    limit = next((value for value in limits if isinstance(value, int)), _DEFAULT_LIMIT)
    return max(limit, *(_scaled_limit(rope) for rope in _rope_parameters(config)), 0)


def _rope_parameters(config: Any) -> list[dict[str, Any]]:
    """The rotary parameters, one set for the model or one for each layer type."""
    rope = getattr(config, "rope_parameters", None)
    if not isinstance(rope, dict):
        return []
    return [rope] if "rope_type" in rope else [x for x in rope.values() if isinstance(x, dict)]


def _scaled_limit(rope: dict[str, Any]) -> int:
    """YaRN configs may state the length before scaling; as in vLLM, the scaled one counts."""
    original = rope.get("original_max_position_embeddings")
    factor = rope.get("factor")
    if rope.get("rope_type") != "yarn" or not original or not factor:
        return 0
    return int(original * factor)
