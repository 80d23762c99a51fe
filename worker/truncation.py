"""Prompts that are made shorter because the request says so.

Owns: `truncate_prompt_tokens` and `truncation_side`. Must not know: text, endpoints.
"""

from schemas.errors import ApiError
from schemas.sampling_fields import SamplingFields

__all__ = ["truncated"]


def truncated(prompt: list[int], fields: SamplingFields, max_model_len: int) -> list[int]:
    """The last tokens of the prompt, as many as the request wants, or the first ones if it says
    so; -1: as many as the context has beside the answer's token limit, or beside one token.

    Raises ApiError 400 for more than the context has, and for none.
    """
    wanted = fields.truncate_prompt_tokens
    if wanted is None:
        return prompt
    if wanted == -1:
        wanted = max(1, max_model_len - max(1, fields.max_output_tokens or 1))
    if not 1 <= wanted <= max_model_len:
        raise ApiError(
            400,
            "Invalid 'truncate_prompt_tokens': expected -1, or from 1 to the context length of "
            f"{max_model_len} tokens, but got {wanted} instead.",
            param="truncate_prompt_tokens",
            code="invalid_value",
        )
    return prompt[:wanted] if fields.truncation_side == "right" else prompt[-wanted:]
