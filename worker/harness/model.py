"""The model class that lm-evaluation-harness calls.

Owns: the harness's three kinds of requests (score a continuation, score a text, generate), each
submitted as one batch. Must not know: the queue, tasks, metrics. Tokens are made as the harness's
own `hf` backend makes them, so that both see the same ones.

One difference remains: `hf` scores the token after a full context too, so a text that is longer
than the context is cut one token earlier here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import model_registry
from lm_eval.models.utils import has_bos_prefix, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from engine.logprobs import LogprobRecord
from engine.request import Request, SamplingParams, StopRules
from worker.harness.batch_engine import BatchEngine
from worker.harness.generation import GenerationArguments, generation_request, read_arguments

__all__ = ["HeadraceLM", "register"]

_NAME = "headrace"
_DEFAULT_OUTPUT_TOKENS = 256
_DEFAULT_DEVICE = "cuda:0"  # what the harness says where its user said nothing

Scored = tuple[float, bool]
Pair = tuple[tuple[str, str] | None, list[int], list[int]]


def register() -> None:
    """Make the model known to lm-eval as `headrace`. May be called again."""
    model_registry.register(_NAME, target=HeadraceLM)


class HeadraceLM(TemplateLM):  # type: ignore[misc]  # lm-eval has no types
    """`--model headrace --model_args pretrained=PATH,dtype=float32,max_num_seqs=64`.

    `pretrained` is what `--model` is elsewhere; every other setting has the name of headrace's flag
    with underscores. `add_bos_token`, `enable_thinking`, `think_end_token` and `max_gen_toks` mean
    what they mean for the harness's `hf` model; batch sizes are not needed and without effect.
    """

    backend = "causal"

    def __init__(
        self,
        pretrained: str = "demo",
        *,
        add_bos_token: bool | None = None,
        enable_thinking: bool | None = None,
        think_end_token: str | None = None,
        max_gen_toks: int = _DEFAULT_OUTPUT_TOKENS,
        **settings: Any,
    ) -> None:
        """Load the model. Raises SettingsError for a name that is no setting, EngineError."""
        super().__init__()
        for ignored in ("batch_size", "max_batch_size"):
            settings.pop(ignored, None)
        if settings.get("device") == _DEFAULT_DEVICE:
            settings["device"] = "auto"
        if "kv_cache_memory_bytes" in settings:  # the harness reads digits as a number
            settings["kv_cache_memory_bytes"] = str(settings["kv_cache_memory_bytes"])
        self.add_bos_token = add_bos_token
        self._template_arguments = (
            {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        )
        self._think_end_token = think_end_token
        self._max_output_tokens = int(max_gen_toks)
        self._seed = int(settings.get("seed", 0))
        self.engine = BatchEngine({"model": pretrained, **settings})
        self.tokenizer = self.engine.tokenizer.hf_tokenizer

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def max_length(self) -> int:
        """Tokens of context, those that are scored among them."""
        return self.engine.info.max_model_len

    @property
    def tokenizer_name(self) -> str:
        return str(self.engine.info.model_path).replace("/", "__")

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes beside its results."""
        info = self.engine.info
        return {
            "model_hash": info.model_hash,
            "model_dtype": info.dtype,
            "fingerprint": info.fingerprint,
        }

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **self._template_arguments,
        )
        return text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_kwargs: Any
    ) -> list[int]:
        """The tokens of a text, with those that the tokenizer puts around it unless told not to or
        the text begins with them.
        """
        wanted = self.add_bos_token if add_special_tokens is None else add_special_tokens
        if add_special_tokens is None and has_bos_prefix(
            string, self.tokenizer.decode(self.prefix_token_id)
        ):
            wanted = False
        arguments = {} if wanted is None else {"add_special_tokens": wanted}
        ids: list[int] = self.tokenizer.encode(string, **arguments)
        return ids

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """The log-likelihood of whole texts, in disjoint windows of the context's length."""
        texts = [request.args[0] for request in requests]
        windows = [list(map(make_disjoint_window, self._windows(text))) for text in texts]
        pairs: list[Pair] = [(None, *window) for of_text in windows for window in of_text]
        scores = iter(self._loglikelihood_tokens(pairs, disable_tqdm=disable_tqdm))
        totals = [sum(next(scores)[0] for _ in of_text) for of_text in windows]
        for text, total in zip(texts, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continuations, all of them in one batch."""
        asked = [request.args for request in requests]
        wanted = [read_arguments(arguments, self._max_output_tokens) for _, arguments in asked]
        made = [
            generation_request(
                number,
                self._prompt(context, arguments),
                arguments,
                tokenizer=self.engine.tokenizer,
                eos_token_ids=self.engine.info.eos_token_ids,
                seed=self._seed,
            )
            for number, ((context, _), arguments) in enumerate(zip(asked, wanted, strict=True))
        ]
        self._run(made, "Generating", disable_tqdm, lambda _: None)
        pairs = zip(made, wanted, strict=True)
        texts = [self._text(request, arguments) for request, arguments in pairs]
        for (context, arguments), text in zip(asked, texts, strict=True):
            self.cache_hook.add_partial("generate_until", (context, arguments), text)
        return texts

    def _loglikelihood_tokens(
        self, requests: Sequence[Pair], disable_tqdm: bool = False, **_kwargs: Any
    ) -> list[Scored]:
        """Sum of log probabilities of each continuation, and whether it is what greedy decoding
        would write.
        """
        made = [
            _scoring_request(number, context, continuation, self.max_length)
            for number, (_, context, continuation) in enumerate(requests)
        ]
        found: dict[str, Scored] = {}

        def take(request: Request) -> None:
            assert request.logprobs is not None
            rows = request.logprobs.rows()
            total = float(np.sum(rows.logprobs, dtype=np.float64))
            found[request.request_id] = (total, bool(np.all(rows.ranks == 1)))
            request.logprobs = None  # a large suite's records need not stay

        self._run([request for request in made if request], "Scoring", disable_tqdm, take)
        scores = [found.get(str(number), (0.0, True)) for number in range(len(requests))]
        for (texts, _, _), scored in zip(requests, scores, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, scored)
        return scores

    def _run(
        self,
        requests: Sequence[Request],
        what: str,
        is_quiet: bool,
        take: Callable[[Request], None],
    ) -> None:
        with tqdm(total=len(requests), desc=what, disable=is_quiet) as bar:

            def ended(request: Request) -> None:
                take(request)
                bar.update()

            self.engine.run(requests, ended)

    def _windows(self, text: str) -> Any:
        return get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length - 1,  # a window has one token more than its input
            context_len=1,
        )

    def _prompt(self, context: str, arguments: GenerationArguments) -> list[int]:
        """The context's last tokens that leave room for the answer, as in `hf`."""
        room = self.max_length - arguments.max_tokens
        if room < 1:
            raise ValueError(
                f"max_gen_toks is {arguments.max_tokens}, which leaves no room for a prompt in a "
                f"context of {self.max_length} tokens; ask for fewer"
            )
        return self.tok_encode(context)[-room:]

    def _text(self, request: Request, arguments: GenerationArguments) -> str:
        tokens = request.output_token_ids
        text = self.engine.tokenizer.decode(tokens)
        stripped: str = postprocess_generated_text(
            generation=text, stop=list(arguments.until), think_end_token=self._think_end_token
        )
        return stripped


def _scoring_request(
    number: int, context: Sequence[int], continuation: Sequence[int], max_length: int
) -> Request | None:
    """None for a continuation without tokens: its log-likelihood is 0."""
    if not continuation:
        return None
    tokens = [*context, *continuation][-max_length:]
    first = max(1, len(tokens) - len(continuation))
    return Request(
        request_id=str(number),
        prompt_token_ids=tokens,
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=0),
        logprobs=LogprobRecord(first_token=first, num_top=0),
    )
