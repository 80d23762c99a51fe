"""Lines of a suite file.

Two forms. The long one is a batch line with its verdict beside it: `custom_id`, `body`, `task`,
`tags`, `scorer`, `reference`. The short one says only what differs between rows: `id`, `input` (a
question), `messages` or `prompt` (a text to continue), `target`, `choices`; the rest comes from the
suite. Both may stand in one file.

Owns: both forms, and the row that each becomes. Must not know: files, YAML, how rows are scored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, ValidationError

from jobs.evals.rows import EvalRow, Scorer, ScorerOptions
from jobs.evals.scoring import check_row
from schemas.strict import StrictModel

__all__ = ["RowDefaults", "make_row", "read_scorer"]

_ASKING = ("body", "messages", "input", "prompt")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDefaults:
    """What rows have that do not say otherwise. `request` goes into every body; `system` before
    every `input`.
    """

    task: str = "all"
    scorer: tuple[Scorer, ScorerOptions] | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    tags: tuple[str, ...] = ()


class _Line(StrictModel):
    custom_id: str | None = Field(default=None, min_length=1)
    id: str | int | None = None
    method: str | None = None
    url: str | None = None
    body: dict[str, Any] | None = None
    messages: list[dict[str, Any]] | None = None
    input: str | None = None
    prompt: str | None = None
    task: str | None = None
    tags: list[str] | dict[str, str | int | float | bool | None] | None = None
    scorer: str | dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    target: Any = None
    choices: list[str] | None = None
    request: dict[str, Any] | None = None


def make_row(entry: Any, number: int, defaults: RowDefaults) -> EvalRow:
    """The row of one line; `number` names it if it has no id. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected an object, but got {json.dumps(entry)[:60]}")
    try:
        line = _Line.model_validate(entry)
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    row = _row(line, number, defaults, has_target="target" in entry)
    check_row(row)
    return row


def read_scorer(given: Any) -> tuple[Scorer, ScorerOptions]:
    """A scorer's name, or an object with its `type` and its options. Raises ValueError."""
    options = {"type": given} if isinstance(given, str) else dict(given)
    name = options.pop("type", None)
    try:
        scorer = Scorer(name)
    except ValueError:
        known = ", ".join(Scorer)
        raise ValueError(f"the scorer {name!r} is unknown; use one of {known}") from None
    try:
        return scorer, ScorerOptions.model_validate(options)
    except ValidationError as error:
        raise ValueError(f"scorer {scorer}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        return f"{place!r} is unknown"
    value = json.dumps(found["input"], ensure_ascii=False, default=str)
    return f"{place!r} is {value[:60]}: {found['msg'][0].lower()}{found['msg'][1:]}"


def _row(line: _Line, number: int, defaults: RowDefaults, *, has_target: bool) -> EvalRow:
    asking = [name for name in _ASKING if getattr(line, name) is not None]
    if len(asking) != 1:
        said = " and ".join(asking) or "none of them"
        raise ValueError(f"it needs one of {', '.join(_ASKING)}, and has {said}")
    if has_target and line.reference is not None:
        raise ValueError("it has both 'target' and 'reference'; give one")
    body = _body(line, defaults)
    scorer, options = _scorer(line, defaults, body)
    reference = dict(line.reference or {})
    if has_target or line.choices is not None:
        reference = _reference(scorer, line)
    if scorer is Scorer.CHOICE:
        body, reference = _choice_body(body, reference)
    identity = line.custom_id if line.custom_id is not None else line.id
    return EvalRow(
        custom_id=f"row-{number}" if identity is None else str(identity),
        task=line.task if line.task is not None else defaults.task,
        scorer=scorer,
        body=body,
        reference=reference,
        tags=tuple(dict.fromkeys((*defaults.tags, *_tags(line)))),
        options=options,
    )


def _body(line: _Line, defaults: RowDefaults) -> dict[str, Any]:
    if line.body is not None:
        asked = line.body
        if not asked.get("messages") and not asked.get("prompt"):
            raise ValueError("its 'body' has neither 'messages' nor 'prompt'")
    elif line.messages is not None:
        asked = {"messages": line.messages}
    elif line.prompt is not None:
        asked = {"prompt": line.prompt}
    else:
        system = [] if defaults.system is None else [{"role": "system", "content": defaults.system}]
        asked = {"messages": [*system, {"role": "user", "content": line.input}]}
    messages = asked.get("messages", [])
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise ValueError("its 'messages' should be a list of objects")
    return {**defaults.request, **asked, **(line.request or {})}


def _scorer(
    line: _Line, defaults: RowDefaults, body: Mapping[str, Any]
) -> tuple[Scorer, ScorerOptions]:
    """Of the line, else of the suite, else what its reference asks for."""
    if line.scorer is not None:
        return read_scorer(line.scorer)
    if defaults.scorer is not None:
        return defaults.scorer
    reference = line.reference or {}
    if line.choices is not None or "choices" in reference:
        return Scorer.CHOICE, ScorerOptions()
    if reference.get("tool_calls"):
        return Scorer.CALLS, ScorerOptions()
    if "content" in reference:
        return Scorer.TEXT, ScorerOptions()
    if line.target is not None:
        if type(line.target) in (int, float):
            return Scorer.NUMERIC, ScorerOptions()
        return Scorer.EXACT, ScorerOptions()
    if body.get("tools"):
        return Scorer.VALID_CALLS, ScorerOptions()
    raise ValueError("it has neither a reference nor tools, so no answer can be judged")


def _reference(scorer: Scorer, line: _Line) -> dict[str, Any]:
    """What `target` means to each scorer."""
    target = line.target
    if scorer is Scorer.CHOICE:
        choices = line.choices or []
        if isinstance(target, str) and target in choices:
            target = choices.index(target)
        return {"choices": choices, "answer": target}
    if line.choices is not None:
        raise ValueError(f"'choices' are for the scorer choice, not for {scorer}")
    if scorer in (Scorer.EXACT, Scorer.NORMALISED, Scorer.REGEX):
        targets = target if isinstance(target, list) else [target]
        return {"targets": [_as_text(each) for each in targets]}
    if scorer is Scorer.NUMERIC:
        return {"number": target}
    if scorer is Scorer.JSON:
        return {"content": json.dumps(target, ensure_ascii=False)}
    if scorer is Scorer.JSON_SCHEMA:
        return {"schema": target}
    if scorer is Scorer.CALLS:
        calls = target if isinstance(target, list) else [target]
        return {"tool_calls": [_call(each) for each in calls]}
    return {"content": target}


def _as_text(target: Any) -> Any:
    """A number is written as it stands in the file; `check_row` refuses the rest."""
    return json.dumps(target) if type(target) in (int, float) else target


def _call(call: Any) -> Any:
    """`{"name": ..., "arguments": ...}` is a call as well as OpenAI's own form."""
    if isinstance(call, dict) and "function" not in call:
        return {"function": call}
    return call


def _choice_body(
    body: Mapping[str, Any], reference: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One text completion scores all endings; nothing is generated."""
    prompt = body.get("prompt", reference.get("prompt"))
    choices = reference.get("choices")
    if isinstance(prompt, list):  # a row that was written by `suite_line`
        return dict(body), dict(reference)
    if not isinstance(prompt, str) or not isinstance(choices, list):
        return dict(body), dict(reference)  # `check_row` says what is missing
    kept = {name: value for name, value in body.items() if name in ("add_special_tokens", "model")}
    scoring = {
        "prompt": [prompt + str(choice) for choice in choices],
        "echo": True,
        "logprobs": 0,
        "max_tokens": 0,
    }
    return {**kept, **scoring}, {**reference, "prompt": prompt}


def _tags(line: _Line) -> list[str]:
    if isinstance(line.tags, dict):
        return [f"{name}={value}" for name, value in line.tags.items() if value is not None]
    return line.tags or []
