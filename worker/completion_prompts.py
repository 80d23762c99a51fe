"""The prompts of a text completion, as text and as tokens.

Owns: turning one into the other, and what a prompt must be for this tokenizer. Must not know:
sampling, answers.
"""

from engine.tokenizer import Tokenizer
from schemas.completions import CompletionRequest
from schemas.errors import ApiError
from schemas.prompts import PromptItem
from worker.job import CompletionPrompt
from worker.sampling import ModelLimits
from worker.truncation import truncated

__all__ = ["prepare_prompt"]


def prepare_prompt(
    item: PromptItem, completion: CompletionRequest, tokenizer: Tokenizer, limits: ModelLimits
) -> CompletionPrompt:
    """One prompt. Text gets the tokenizer's own special tokens around it unless told otherwise;
    token ids are taken as they are, each in the vocabulary. Of a truncated one, the text is that of
    the tokens that are left.

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
        left = truncated(token_ids, completion, limits.max_model_len)
        if len(left) < len(token_ids):
            item = tokenizer.decode(left, skip_special_tokens=False)
        return CompletionPrompt(item, left)
    highest = max(item)
    if highest >= limits.vocab_size:
        raise ApiError(
            400,
            f"Invalid 'prompt': token id {highest} is not in the model's vocabulary of "
            f"{limits.vocab_size} tokens.",
            param="prompt",
            code="invalid_value",
        )
    item = truncated(item, completion, limits.max_model_len)
    text = tokenizer.decode(item, skip_special_tokens=False) if completion.echo else ""
    return CompletionPrompt(text, item)
