import pytest

from jobs.queue import BatchSpec
from tests.worker.site import Site
from worker import tenants
from worker.tenants import Tenants


async def test_a_batch_is_asked_for_once(site: Site) -> None:
    known = Tenants(site.queue)
    await site.queue.create_batch(BatchSpec(batch_id="b", tenant="acme"))
    assert await known.of("b") == "acme"
    await site.queue.delete_batch("b")
    assert await known.of("b") == "acme"


async def test_a_batch_that_is_announced_later_has_its_own_tenant(site: Site) -> None:
    known = Tenants(site.queue)
    assert await known.of("b") == "default"
    await site.queue.create_batch(BatchSpec(batch_id="b", tenant="acme"))
    assert await known.of("b") == "acme"


async def test_the_oldest_batches_are_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenants, "_MAX_BATCHES", 2)
    known = Tenants(site.queue)
    for name in ("a", "b", "c"):
        await site.queue.create_batch(BatchSpec(batch_id=name, tenant="acme"))
        await known.of(name)
    assert list(known._known) == ["b", "c"]
