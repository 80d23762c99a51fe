"""The prompts of a text completion, as text and as tokens.

Owns: turning one into the other, and what a prompt must be for this tokenizer. Must not know:
sampling, answers.
"""

from engine.tokenizer import Tokenizer
from schemas.completions import CompletionRequest
from schemas.errors import ApiError
from schemas.prompts import PromptItem
from worker.job import CompletionPrompt

__all__ = ["prepare_prompt"]


def prepare_prompt(
    item: PromptItem, completion: CompletionRequest, tokenizer: Tokenizer, vocab_size: int
) -> CompletionPrompt:
    """One prompt. Text gets the tokenizer's own special tokens around it unless told otherwise;
    token ids are taken as they are, each below `vocab_size`.

    Raises ApiError 400 for a prompt without tokens and for ids that the model does not have.
    """
    if isinstance(item, str):
        token_ids = tokenizer.encode_text(
            item, add_special_tokens=completion.add_special_tokens is not False
        )
        if not token_ids:
            raise ApiError(
                400,
                "Invalid 'prompt': it has no tokens, so there is nothing to continue.",
                param="prompt",
                code="empty_string",
            )
        return CompletionPrompt(item, token_ids)
    highest = max(item)
    if highest >= vocab_size:
        raise ApiError(
            400,
            f"Invalid 'prompt': token id {highest} is not in the model's vocabulary of "
            f"{vocab_size} tokens.",
            param="prompt",
            code="invalid_value",
        )
    text = tokenizer.decode(item, skip_special_tokens=False) if completion.echo else ""
    return CompletionPrompt(text, item)
