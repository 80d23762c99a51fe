"""From the finished engine requests of a text completion to a row.

Owns: the `text_completion` object and the typed columns of its result. Must not know: how requests
were run, chat messages.
"""

from engine.request import FinishReason, Request
from engine.tokenizer import Tokenizer
from schemas.chat_response import Usage
from schemas.completion_response import CompletionChoice, CompletionLogprobs, CompletionResponse
from schemas.completions import CompletionRequest
from schemas.result import ResultRow
from worker.answers import AnswerWriter
from worker.job import CompletionPrompt, HeldJob, PreparedCompletion
from worker.logprob_answers import TokenNames, completion_logprobs, prompt_logprobs
from worker.result_rows import answer_id, answered_row

__all__ = ["answer_completion", "leading_space"]


def answer_completion(
    writer: AnswerWriter, job: HeldJob, prepared: PreparedCompletion
) -> ResultRow:
    """The 200 row of a job whose requests all ended by themselves or at their limit, in the name
    of `writer`'s worker.
    """
    completion = prepared.completion
    choices = [_choice(writer.tokenizer, prepared, i) for i in range(len(prepared.requests))]
    firsts = prepared.requests[:: completion.num_choices]
    usage = Usage.of(
        prompt_tokens=sum(request.num_prompt_tokens for request in firsts),
        completion_tokens=sum(request.num_output_tokens for request in prepared.requests),
        cached_tokens=sum(
            min(request.num_cached_tokens or 0, request.num_prompt_tokens) for request in firsts
        ),
    )
    response = CompletionResponse(
        id=answer_id("cmpl", job),
        created=job.lease.enqueued_ms // 1000,
        model=completion.model,
        choices=choices,
        usage=usage,
        system_fingerprint=writer.fingerprint,
    )
    return answered_row(
        job,
        prepared,
        usage,
        worker=writer.consumer,
        fingerprint=writer.fingerprint,
        model=completion.model,
        finish_reason=choices[0].finish_reason,
        content=choices[0].text,
        response_json=response.to_json(),
    )


def _choice(tokenizer: Tokenizer, prepared: PreparedCompletion, index: int) -> CompletionChoice:
    completion, request = prepared.completion, prepared.requests[index]
    assert request.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    number, choice = divmod(index, completion.num_choices)
    prompt, first = prepared.prompts[number], prepared.requests[index - choice]
    text = _text(tokenizer, request, completion)
    names = TokenNames(tokenizer, bool(completion.return_tokens_as_token_ids))
    return CompletionChoice(
        text=prompt.text + text if completion.echo else text,
        index=index,
        logprobs=_logprobs(completion, prompt, first, (text, request), names),
        finish_reason="stop" if request.finish_reason is FinishReason.STOP else "length",
        stop_reason=request.stop_reason,
        token_ids=list(request.output_token_ids) if completion.return_token_ids else None,
        prompt_token_ids=list(request.prompt_token_ids) if completion.return_token_ids else None,
        prompt_logprobs=prompt_logprobs(first, completion.prompt_logprobs, names),
    )


def _logprobs(
    completion: CompletionRequest,
    prompt: CompletionPrompt,
    first: Request,
    output: tuple[str, Request],
    names: TokenNames,
) -> CompletionLogprobs | None:
    if completion.logprobs is None:
        return None
    echoed = (prompt.text, first) if completion.echo else None
    return completion_logprobs(echoed, output, completion.logprobs, names)


def _text(tokenizer: Tokenizer, request: Request, completion: CompletionRequest) -> str:
    """What is shown of the output: without the stop string, or the token that ended it."""
    skips = completion.skip_special_tokens is not False
    tokens = request.output_token_ids
    if isinstance(request.stop_reason, str) and request.stop_matcher is not None:
        text = request.stop_matcher.text
    else:
        if request.ends_with_stop_token and not completion.include_stop_str_in_output:
            tokens = tokens[:-1]
        text = tokenizer.decode(tokens, skip_special_tokens=skips)
    return leading_space(text, request, tokenizer, skips=skips) + text


def leading_space(text: str, request: Request, tokenizer: Tokenizer, *, skips: bool) -> str:
    """The space that some decoders drop before the first word they see, as if it began a text. Here
    the prompt comes before it. `text` is that of the output, or its beginning.
    """
    hidden = tokenizer.special_token_ids if skips else frozenset()
    first = next((token for token in request.output_token_ids if token not in hidden), None)
    if first is None or not text or text.startswith(" "):
        return ""
    has_text = any(token not in tokenizer.special_token_ids for token in request.prompt_token_ids)
    return " " if has_text and tokenizer.texts.bytes_of(first).startswith(b" ") else ""
