import pytest
from redis.asyncio import Redis

from jobs.errors import BadBatchError
from jobs.keys import Keys, check_name
from jobs.scripts import assemble

ALL_NAMES = """
--@include _keys.lua
return {batch_key('B'), stream_key('B', 'M'), models_key('B'), bitmap_key('B'), outbox_key('B'),
  attempts_key('B'), cancels_key('B'), ring_key('', 'M'), ring_key('-interactive', 'M'),
  lane_key('', 'T', 'M'), lane_key('-interactive', 'T', 'M'), deficits_key('', 'M'),
  deficits_key('-interactive', 'M'), reap_key('M'), alone_key('M'), later_key('M'),
  turn_key('M'), deadlines_key('B'), shared_key('B'), kept_key('B'),
  followers_key('B', 'H'), tokens_key('B', 3), submission_key('B', 3),
  BATCHES, ACTIVE, FINALIZING, BROKEN, DEAD, STAT, BACKLOG, TENANTS, EPOCH}
"""


async def test_scripts_and_python_name_the_same_keys(redis: Redis) -> None:
    keys = Keys("other-space")
    by_script = await redis.eval(assemble(ALL_NAMES), 1, keys.prefix)
    assert [name.decode() for name in by_script] == [
        keys.batch("B"),
        keys.stream("B", "M"),
        keys.models("B"),
        keys.bitmap("B"),
        keys.outbox("B"),
        keys.attempts("B"),
        keys.cancels("B"),
        keys.ring("M"),
        keys.ring("M", is_interactive=True),
        keys.lane("T", "M"),
        keys.lane("T", "M", is_interactive=True),
        keys.deficits("M"),
        keys.deficits("M", is_interactive=True),
        keys.reap("M"),
        keys.alone("M"),
        keys.later("M"),
        keys.turn("M"),
        keys.deadlines("B"),
        keys.shared("B"),
        keys.kept("B"),
        keys.followers("B", "H"),
        keys.tokens("B", 3),
        keys.submission("B", 3),
        keys.batches,
        keys.active,
        keys.finalizing,
        keys.broken,
        keys.dead,
        keys.stat,
        keys.backlog,
        keys.tenants,
        keys.epoch,
    ]


def test_every_key_is_under_the_namespace_and_its_hash_tag() -> None:
    keys = Keys("space")
    names = [
        keys.tokens("B", 3),
        keys.worker("host-1"),
        keys.workers,
        keys.known_models,
        keys.lock("maintenance"),
        keys.fence("maintenance"),
        keys.stream("B", "M"),
    ]
    assert all(name.startswith("space:{q}:") for name in names)
    assert len(set(names)) == len(names)


def test_no_two_pairs_of_names_share_a_key() -> None:
    keys = Keys()
    assert keys.stream("b", "x:y") != keys.stream("b.x", "y")
    assert keys.lane("t", "x:y") != keys.lane("t.x", "y")
    assert keys.lane("t", "m", is_interactive=True) != keys.lane("t", "m")


@pytest.mark.parametrize("name", ["", ":", "a:b", "-a", "a b", "a\n", "{q}", "a" * 129, "ä"])
def test_a_name_that_could_be_mistaken_in_a_key_is_refused(name: str) -> None:
    with pytest.raises(BadBatchError, match="cannot be used"):
        check_name("batch id", name)
    with pytest.raises(BadBatchError, match="namespace"):
        Keys(name)


@pytest.mark.parametrize("name", ["a", "batch_6f0c", "0.1-x_Y", "a" * 128])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name("batch id", name) == name
