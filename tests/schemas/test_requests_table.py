"""docs/REQUESTS.md says of every parameter what the code does with it."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from schemas import completions_supported, supported
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from schemas.strict import StrictModel

DOCUMENT = Path(__file__).parents[2] / "docs" / "REQUESTS.md"
ENDPOINTS: dict[str, tuple[type[StrictModel], ModuleType]] = {
    "chat": (ChatCompletionRequest, supported),
    "completions": (CompletionRequest, completions_supported),
}


def table() -> list[dict[str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return [{"name": n, "chat": a.strip(), "completions": b.strip()} for n, a, b in rows]


def decision(model: type[StrictModel], tables: ModuleType, name: str) -> str:
    if name not in model.model_fields:
        return "-"
    if name in tables.REFUSED:
        return "refuse"
    if name in tables.LIMITED:
        return "only " + " or ".join(f"`{_json(value)}`" for value in tables.LIMITED[name])
    return "accept" if name in tables.ACCEPTED else "effect"


def _json(value: object) -> str:
    return json.dumps(int(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_table_says_what_the_code_does(endpoint: str) -> None:
    model, tables = ENDPOINTS[endpoint]
    documented = {row["name"]: row[endpoint] for row in table()}
    expected = {name: decision(model, tables, name) for name in documented}
    assert documented == expected


def test_every_parameter_has_one_line() -> None:
    names = [row["name"] for row in table()]
    assert len(names) == len(set(names))
    fields = {name for model, _ in ENDPOINTS.values() for name in model.model_fields}
    assert set(names) == fields


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_parameter_is_decided_once(endpoint: str) -> None:
    model, tables = ENDPOINTS[endpoint]
    groups = (set(tables.REFUSED), set(tables.LIMITED), set(tables.ACCEPTED))
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert set().union(*groups) <= set(model.model_fields)
