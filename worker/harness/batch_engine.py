"""A model in this process that runs a list of requests to their end.

Owns: loading from headrace's own settings by name, and the loop around the core. Must not know:
lm-eval, the queue, the event loop. Everything is handed over before the first step, so that the
scheduler sees all of it: shared prefixes meet, and the running set is always full.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from engine.build import EngineInfo, build_engine
from engine.chat_template import ChatTemplate
from engine.errors import RequestError
from engine.request import FinishReason, Request
from engine.tokenizer import Tokenizer
from worker.errors import SettingsError
from worker.options import EngineOptions, ModelOptions, engine_config

__all__ = ["BatchEngine", "OnFinished"]

OnFinished = Callable[[Request], None]


class BatchEngine:
    """Built from settings that are named like headrace's flags, with underscores."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Load the model. Raises SettingsError for a name that is no setting, EngineError."""
        model, engine = _options(settings)
        self._parts = build_engine(engine_config(model, engine))

    @property
    def info(self) -> EngineInfo:
        return self._parts.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self._parts.tokenizer

    @property
    def chat_template(self) -> ChatTemplate:
        return self._parts.chat_template

    def run(self, requests: Sequence[Request], on_finished: OnFinished) -> None:
        """Run all of them; `on_finished` hears of each as it ends, in no promised order.

        Raises RequestError, with all others abandoned, if one cannot run or has failed.
        """
        core = self._parts.core
        # Neighbours share as much of their prefix as there is to share.
        waiting = sorted(requests, key=lambda request: list(request.prompt_token_ids))
        try:
            for request in waiting:
                core.add(request)
            while core.has_work:
                for request in core.step():
                    _check(request)
                    on_finished(request)
        except BaseException:
            for request in waiting:
                core.abort(request.request_id)
            raise

    def close(self) -> None:
        """Release the device."""
        self._parts.core.shutdown()


def _check(request: Request) -> None:
    if request.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
        raise RequestError(
            f"Request {request.request_id} of {request.num_prompt_tokens} tokens failed: "
            f"{request.error or request.finish_reason}"
        )


def _options(settings: Mapping[str, Any]) -> tuple[ModelOptions, EngineOptions]:
    of_model = {field.name for field in fields(ModelOptions)}
    of_engine = {field.name for field in fields(EngineOptions)}
    unknown = sorted(set(settings) - of_model - of_engine)
    if unknown:
        known = ", ".join(sorted(of_model | of_engine))
        raise SettingsError(f"{unknown[0]} is no setting of headrace; use one of {known}")
    return (
        ModelOptions(**{name: settings[name] for name in settings if name in of_model}),
        EngineOptions(**{name: settings[name] for name in settings if name in of_engine}),
    )
