"""Share of answers that are calls to declared tools with arguments the schema allows.

`python -m jobs.evals.real_calls --rows rows.jsonl --answers answers.jsonl`

Owns: the count for rows that have tools but no reference answer. Must not know: how they were run.
The check covers type, enum, required, properties and items, which is what such rows use.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.evals.demo.scoring import parse_calls

__all__ = ["allowed", "verdict"]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def allowed(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value fits a schema, as far as this module reads schemas."""
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        if not isinstance(value, _TYPES[kind]):
            return False
        if isinstance(value, bool) and kind in ("integer", "number"):
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, list):
        return all(allowed(item, schema.get("items") or {}) for item in value)
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return set(schema.get("required", ())) <= set(value) and all(
            name in known and allowed(item, known[name]) for name, item in value.items()
        )
    return True


def verdict(body: Mapping[str, Any], text: str) -> str:
    """`valid`, `no call`, `malformed`, `unknown tool` or `bad arguments` for one answer."""
    calls = parse_calls(text.rpartition("</think>")[2])
    if calls is None:
        return "malformed"
    if not calls:
        return "no call"
    schemas = {
        tool["function"]["name"]: tool["function"].get("parameters") or {}
        for tool in body.get("tools", ())
    }
    for call in calls:
        if call["name"] not in schemas:
            return "unknown tool"
        if not isinstance(call["arguments"], dict):
            return "bad arguments"
        if not allowed(call["arguments"], {"type": "object", **schemas[call["name"]]}):
            return "bad arguments"
    return "valid"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Count valid calls in answers to tool rows.")
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    arguments = parser.parse_args()
    lines = arguments.answers.read_text(encoding="utf-8").splitlines()
    texts = {entry["custom_id"]: entry["text"] for entry in map(json.loads, lines)}
    rows = [json.loads(line) for line in arguments.rows.read_text(encoding="utf-8").splitlines()]
    counts = Counter(verdict(row["body"], texts.get(row["custom_id"], "")) for row in rows)
    for name, count in counts.most_common():
        print(f"{name:14} {count:5}  {count / len(rows):6.1%}")  # noqa: T201


if __name__ == "__main__":
    main()
