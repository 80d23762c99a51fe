"""What this server does not do for text completions: refused by name, never ignored.

Owns: the tables for /v1/completions, in the form of those for chat (supported.py). Must not know:
ranges (completions.py), the model.
"""

from collections.abc import Mapping
from typing import Any

from schemas.completions import CompletionRequest
from schemas.errors import ApiError
from schemas.supported import check_fields, check_form, check_stream

__all__ = ["ACCEPTED", "LIMITED", "REFUSED", "check_completion_supported"]

REFUSED: Mapping[str, str] = {
    "suffix": "",
    "prompt_embeds": "",
    "logprob_token_ids": "",
    "repetition_detection": "",
    "kv_transfer_params": "",
    "vllm_xargs": "",
}
"""Parameters of which no value has an effect, and what to do instead."""

LIMITED: Mapping[str, tuple[Any, ...]] = {
    "use_beam_search": (False,),
    "length_penalty": (1.0,),
    "spaces_between_special_tokens": (True,),
}
"""Parameters of which only these values do what they say."""

ACCEPTED = frozenset(
    (
        "guided_decoding_backend",
        "metadata",
        "request_id",
        "service_tier",
        "session_id",
        "store",
        "user",
    )
)
"""Parameters that are checked and then have no effect."""


def check_completion_supported(request: CompletionRequest) -> None:
    """Raises ApiError 400, `unsupported_parameter` or `unsupported_value`, for the first thing
    that would have no effect.
    """
    check_fields(request, REFUSED, LIMITED)
    check_stream(request)
    check_form(request)
    if request.best_of is not None and request.best_of != request.num_choices:
        raise ApiError(
            400,
            f"Unsupported value: 'best_of' does not support {request.best_of} on this server: all "
            f"choices are returned, so it must equal n, which is {request.num_choices}.",
            param="best_of",
            code="unsupported_value",
        )
