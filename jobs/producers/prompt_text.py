"""What a request's prompt will roughly look like, without a tokenizer or a template.

Owns: the text by which lines with a common beginning are brought together, and the estimate of what
a job costs. Must not know: lines, queues. Takes bodies that nobody has validated yet.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["estimate_cost_tokens", "rendered_text"]

_BYTES_PER_TOKEN = 3
_MAX_TOKEN_ID = (1 << 8 * _BYTES_PER_TOKEN) - 1
_MAX_COST_TOKENS = 1 << 24
_SYSTEM_ROLES = ("system", "developer")
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def rendered_text(body: Mapping[str, Any]) -> bytes:
    """Role and content of each message in order, the tools after a leading system message, where
    most templates put them; or the prompts as they are. Two bodies share a prefix here where their
    prompts will share one.

    A function of the body alone, whatever it holds: the order of the fan-out rests on it.
    """
    messages = body.get("messages")
    if messages is None and "prompt" in body:
        return b"\x1e".join(_prompt_bytes(body["prompt"]))
    pieces = [_message_text(message) for message in messages] if isinstance(messages, list) else []
    if tools := body.get("tools"):
        starts_with_system = pieces and pieces[0].startswith(_SYSTEM_ROLES)
        pieces.insert(1 if starts_with_system else 0, _dump(tools))
    return "\x1e".join(pieces).encode("utf-8", "surrogatepass")


def estimate_cost_tokens(
    num_prompt_bytes: int, max_output_tokens: int | None, num_choices: int, *, default_output: int
) -> int:
    """Tokens that the job will occupy: UTF-8 bytes / 3 for the prompt (English has about 4 bytes a
    token, Chinese about 3), plus what each choice may generate.
    """
    output = default_output if max_output_tokens is None else max_output_tokens
    cost = -(-num_prompt_bytes // _BYTES_PER_TOKEN) + output * num_choices
    return max(1, min(cost, _MAX_COST_TOKENS))


def _prompt_bytes(prompt: Any) -> Iterator[bytes]:
    """Each text as it is, each token id in as many bytes as a token has on average."""
    items = prompt if isinstance(prompt, list) else [prompt]
    if items and all(type(item) is int for item in items):
        items = [items]
    for item in items:
        if isinstance(item, str):
            yield item.encode("utf-8", "surrogatepass")
        elif isinstance(item, list):
            ids = (token_id if type(token_id) is int else 0 for token_id in item)
            yield b"".join(
                max(0, min(token_id, _MAX_TOKEN_ID)).to_bytes(_BYTES_PER_TOKEN, "big")
                for token_id in ids
            )


def _message_text(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    role, content = message.get("role"), message.get("content")
    pieces = [role if isinstance(role, str) else ""]
    if isinstance(content, str):
        pieces.append(content)
    elif isinstance(content, list):
        for part in content:
            text = part.get("text") if isinstance(part, dict) else None
            pieces.append(text if isinstance(text, str) else _dump(part))
    if calls := message.get("tool_calls"):
        pieces.append(_dump(calls))
    return "\x1f".join(pieces)
