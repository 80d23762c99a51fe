import re
from importlib import resources

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs.keys import Keys
from jobs.scripts import ScriptRunner, assemble, load_script

FILES = sorted(
    entry.name for entry in resources.files("jobs.scripts").iterdir() if entry.name.endswith(".lua")
)
SCRIPTS = [name.removesuffix(".lua") for name in FILES if not name.startswith("_")]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_states_its_contract(name: str) -> None:
    source = resources.files("jobs.scripts").joinpath(f"{name}.lua").read_text("utf-8")
    header = re.match(r"((--.*)\n)+", source)
    assert header is not None
    text = header.group(0)
    assert text.startswith(f"-- {name.upper()}")
    assert "-- Arguments:" in text
    assert "-- Effects:" in text
    assert "-- Replies:" in text
    if not name.startswith(("file_", "record_")):  # those keep objects of the endpoint
        assert "-- Invariants:" in text


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_compiles_under_the_hash_we_call_it_by(redis: Redis, name: str) -> None:
    script = load_script(name)
    assert (await redis.script_load(script.source)) in (script.sha, script.sha.encode())


def test_includes_are_put_in_place() -> None:
    text = assemble("-- head\n--@include _keys.lua\nreturn 1")
    assert text.startswith("-- head\n")
    assert "local function batch_key" in text
    assert "@include" not in text
    assert text.endswith("return 1\n")


def test_an_unknown_script_or_include_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        load_script("nothing")
    with pytest.raises(FileNotFoundError):
        assemble("--@include _nothing.lua")


async def test_one_failing_call_does_not_fail_its_neighbours(redis: Redis) -> None:
    runner = ScriptRunner(redis, Keys("t").prefix)
    calls: list[tuple[str, ...]] = [("b", "epoch"), ("b", "epoch", "field", "value"), ("b",), ()]
    await redis.script_flush()
    replies = await runner.run_many("create", calls)
    assert replies[:2] == [1, 0]
    assert replies[2] == 0
    assert isinstance(replies[3], ResponseError)


async def test_scripts_run_after_a_flush(redis: Redis) -> None:
    runner = ScriptRunner(redis, Keys("t").prefix)
    for batch_id in ("b1", "b2"):
        await redis.script_flush()
        assert await runner.run("create", batch_id, "epoch") == 1
        assert await runner.run("create", batch_id, "epoch") == 0
