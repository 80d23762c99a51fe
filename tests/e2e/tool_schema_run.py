"""Many tools through `tool_choice: required` with a model of random weights.

    python -m tests.e2e.tool_schema_run [--schemas 500] [--seeds 3] [--max-tokens 2048]
        [--family hermes]

Prints one JSON object: how many answers ended, and how many of those do not validate, which has to
be none. The tests run a small part of it.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
from jsonschema import Draft202012Validator

from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from jobs.queue import Lease
from tests.e2e.family_model import add_family_tokens
from tests.engine.structured_output.tool_schemas import make_tools
from tests.random_model import build_random_model
from worker.job import HeldJob
from worker.loading import load_machine

__all__ = ["Outcome", "run_tools"]

_BLOCK_SIZE = 16


@dataclass
class Outcome:
    """What came of a run. `invalid` are answers that ended and should not have ended so."""

    num_answers: int = 0
    num_ended: int = 0
    num_bounded: int = 0
    num_bounded_ended: int = 0
    num_calls: int = 0
    invalid: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def take(self, tools: list[dict[str, Any]], is_bounded: bool, body: dict[str, Any]) -> None:
        """Judge one answer."""
        self.num_answers += 1
        self.num_bounded += is_bounded
        (choice,) = body["choices"]
        if choice["finish_reason"] == "length":
            return
        self.num_ended += 1
        self.num_bounded_ended += is_bounded
        calls = choice["message"].get("tool_calls") or []
        self.num_calls += len(calls)
        if not calls:
            self.invalid.append(f"no call: {choice['message']!r}")
        for call in calls:
            if (reason := _why_invalid(tools, call["function"])) is not None:
                self.invalid.append(reason)


def _why_invalid(tools: list[dict[str, Any]], call: dict[str, Any]) -> str | None:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    if call["name"] not in schemas:
        return f"unknown function {call['name']!r}"
    schema = schemas[call["name"]]
    checker = Draft202012Validator.FORMAT_CHECKER
    try:
        Draft202012Validator(schema, format_checker=checker).validate(json.loads(call["arguments"]))
    except (ValueError, jsonschema.ValidationError) as error:
        return f"{call['arguments']!r}: {str(error).splitlines()[0]} ({json.dumps(schema)})"
    return None


def run_tools(
    num_schemas: int,
    *,
    seeds: Sequence[int],
    max_tokens: int,
    max_num_seqs: int = 64,
    family: str = "hermes",
) -> Outcome:
    """Run every list of tools once for each seed, with the calls of a family."""
    outcome = Outcome()
    requests = [
        (tools, is_bounded, seed)
        for seed in seeds
        for tools, is_bounded in make_tools(num_schemas, seed=1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        build_random_model(Path(folder))
        add_family_tokens(Path(folder), family)
        num_blocks = max_num_seqs * (max_tokens + 1024) // _BLOCK_SIZE
        machine = load_machine(
            EngineConfig(
                model=ModelConfig(model=folder, tool_call_parser=family),
                cache=CacheConfig(num_blocks=num_blocks, block_size=_BLOCK_SIZE),
                scheduler=SchedulerConfig(max_num_seqs=max_num_seqs),
            ),
            ("demo",),
        )
        jobs = []
        core = machine.engine._core
        for number, (tools, is_bounded, seed) in enumerate(requests):
            job = _job(number, _body(tools, is_bounded, seed, max_tokens))
            machine.translator.prepare([job])
            if job.prepared is None:
                assert job.refusal is not None
                outcome.refused[job.refusal.error_message or ""] += 1
                continue
            jobs.append((job, tools, is_bounded))
            for request in job.prepared.requests:
                core.add(request)
        while core.has_work:
            core.step()
        for job, tools, is_bounded in jobs:
            assert job.prepared is not None
            if errors := [one.error for one in job.prepared.requests if one.error]:
                outcome.num_answers += 1
                outcome.invalid.append(f"failed: {errors[0]} ({json.dumps(tools)})")
                continue
            row = machine.translator.answer(job)
            assert row.status_code == 200, row
            outcome.take(tools, is_bounded, json.loads(row.response_json or ""))
        core.shutdown()
    return outcome


def _body(
    tools: list[dict[str, Any]], is_bounded: bool, seed: int, max_tokens: int
) -> dict[str, Any]:
    return {
        "model": "demo",
        "messages": [{"role": "user", "content": "Call it."}],
        "tools": tools,
        "tool_choice": "required",
        "parallel_tool_calls": not is_bounded,
        "max_completion_tokens": max_tokens,
        "temperature": 1.0,
        "seed": seed,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def _job(number: int, body: dict[str, Any]) -> HeldJob:
    lease = Lease(
        batch_id="batch",
        model="demo",
        entry_id="1-0",
        attempt=1,
        idx=number,
        custom_id=f"job-{number}",
        url="/v1/chat/completions",
        cost_tokens=10,
        body=json.dumps(body).encode(),
        enqueued_ms=1_700_000_000_000,
        progress=b"",
        fence=1,
    )
    return HeldJob(lease=lease, leased_s=0.0, queue_s=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schemas", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--family", default="hermes")
    settings = parser.parse_args()
    start_s = time.monotonic()
    outcome = run_tools(
        settings.schemas,
        seeds=range(settings.seeds),
        max_tokens=settings.max_tokens,
        family=settings.family,
    )
    print(
        json.dumps(
            {
                **vars(settings),
                "answers": outcome.num_answers,
                "ended": outcome.num_ended,
                "bounded": outcome.num_bounded,
                "bounded_ended": outcome.num_bounded_ended,
                "calls": outcome.num_calls,
                "invalid": outcome.invalid,
                "refused": dict(outcome.refused),
                "seconds": round(time.monotonic() - start_s, 1),
            },
            indent=2,
            ensure_ascii=False,
        )
    )
    return 1 if outcome.invalid or outcome.refused else 0


if __name__ == "__main__":
    sys.exit(main())
