"""When a request ends.

Owns: the one function that looks at a new token and decides. Must not know: blocks, devices, jobs.
"""

from engine.request import FinishReason, Request

__all__ = ["append_token"]


def append_token(request: Request, token_id: int, max_model_len: int) -> bool:
    """Append one sampled token; True if it ends the request (finish and stop reason are set).

    EOS, stop ids and stop strings count only from `min_tokens` on. The ending token stays in
    `output_token_ids`; what is shown of it is the caller's business. A token that both stops and
    reaches a limit is a stop.
    """
    request.output_token_ids.append(token_id)
    rules = request.stop
    matched = request.stop_matcher is not None and request.stop_matcher.append(token_id)
    if request.num_output_tokens >= rules.min_tokens:
        if token_id in rules.eos_token_ids and not rules.ignore_eos:
            request.finish_reason = FinishReason.STOP
        elif token_id in rules.stop_token_ids:
            request.finish_reason = FinishReason.STOP
            request.stop_reason = token_id
        elif matched:
            request.finish_reason = FinishReason.STOP
            request.stop_reason = request.stop_matcher.stop_string if request.stop_matcher else None
    if request.constraint is not None:
        _apply_constraint(request, token_id)
    if request.finish_reason is None and (
        request.num_output_tokens >= rules.max_tokens or request.num_tokens >= max_model_len
    ):
        request.finish_reason = FinishReason.LENGTH
    return request.finish_reason is not None


def _apply_constraint(request: Request, token_id: int) -> None:
    """A complete output ends the request even before `min_tokens`: nothing may follow it."""
    assert request.constraint is not None
    is_complete = request.constraint.append(token_id)
    if request.finish_reason is not None:
        return
    if request.constraint.error is not None:
        request.finish_reason = FinishReason.ERROR
        request.error = request.constraint.error
        request.is_refused = True
    elif is_complete:
        request.finish_reason = FinishReason.STOP
