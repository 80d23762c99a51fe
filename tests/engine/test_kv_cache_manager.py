from engine.block_pool import BlockPool
from engine.kv_cache_manager import KVCacheManager
from engine.request import Request
from tests.fakes import make_request


def _manager(num_blocks: int = 8, **settings: object) -> KVCacheManager:
    return KVCacheManager(BlockPool(num_blocks), 4, **settings)  # type: ignore[arg-type]


def _compute(manager: KVCacheManager, request: Request) -> None:
    """Admit a request and book its whole prompt as computed."""
    prefix = manager.find_prefix(request)
    manager.admit(request, prefix)
    assert manager.extend(request, request.num_tokens)
    request.num_computed_tokens = request.num_tokens
    manager.publish(request)


def test_a_computed_prompt_is_found_by_the_next_request_but_for_its_last_token() -> None:
    manager = _manager()
    _compute(manager, make_request("a", list(range(8))))
    assert len(manager.find_prefix(make_request("b", [*range(8), 99]))) == 2
    # An identical prompt keeps one block to compute: sampling needs the last token's logits.
    assert len(manager.find_prefix(make_request("c", list(range(8))))) == 1
    assert manager.find_prefix(make_request("d", [7, *range(8)])) == []


def test_block_hashes_chain_so_equal_blocks_after_different_heads_differ() -> None:
    manager = _manager()
    _compute(manager, make_request("a", [1, 1, 1, 1, 2, 2, 2, 2, 3]))
    assert len(manager.find_prefix(make_request("b", [9, 9, 9, 9, 2, 2, 2, 2, 3]))) == 0


def test_salt_and_adapter_and_model_keep_prefixes_apart() -> None:
    prompt = list(range(9))
    pool = BlockPool(16)
    manager = KVCacheManager(pool, 4, fingerprint="model-1")
    _compute(manager, make_request("a", prompt, cache_salt="tenant-1"))
    assert len(manager.find_prefix(make_request("b", prompt, cache_salt="tenant-1"))) == 2
    assert manager.find_prefix(make_request("c", prompt, cache_salt="tenant-2")) == []
    assert manager.find_prefix(make_request("d", prompt, adapter="tenant-1")) == []
    other = KVCacheManager(pool, 4, fingerprint="model-2")
    assert other.find_prefix(make_request("e", prompt, cache_salt="tenant-1")) == []


def test_block_hashes_are_the_same_in_every_process() -> None:
    manager = _manager(fingerprint="m")
    _compute(manager, make_request("a", [1, 2, 3, 4]))
    (block,) = manager.find_prefix(make_request("b", [1, 2, 3, 4, 5]))
    assert block.block_hash == bytes.fromhex("677f1201a347448c9c4a64a813a0a1f6")


def test_extend_takes_all_the_blocks_or_none() -> None:
    manager = _manager(num_blocks=2)
    request = make_request("a", list(range(4)))
    manager.admit(request, [])
    assert not manager.extend(request, 9)
    assert manager.extend(request, 8)
    assert manager.take_new_block_ids(request) == ((0, 1),)
    assert manager.take_new_block_ids(request) == ((),)
    manager.check_integrity()


def test_admission_counts_the_whole_prompt_and_what_sharing_takes_from_the_free_queue() -> None:
    manager = _manager(num_blocks=3)
    first = make_request("a", list(range(8)))
    _compute(manager, first)
    manager.release(first)
    second = make_request("b", [*range(8), 8, 9, 10])
    prefix = manager.find_prefix(second)
    assert len(prefix) == 2
    assert manager.can_admit(second, prefix)  # 12 tokens: two shared blocks and the third
    longer = make_request("c", [*range(8), 8, 9, 10, 11])
    assert not manager.can_admit(longer, manager.find_prefix(longer))


def test_withdraw_sends_the_whole_table_again() -> None:
    manager = _manager()
    request = make_request("a", list(range(8)))
    _compute(manager, request)
    assert manager.take_new_block_ids(request) == ((0, 1),)
    request.num_computed_tokens = 0
    manager.withdraw(request)
    manager.forget_prefixes()
    assert manager.take_new_block_ids(request) == ((0, 1),)
    assert manager.find_prefix(make_request("b", list(range(9)))) == []


def test_prefix_of_waits_until_the_parent_has_computed_the_shared_blocks() -> None:
    manager = _manager(enable_caching=False)
    parent = make_request("a", list(range(9)))
    child = make_request("b", list(range(9)), fork_of="a")
    assert manager.prefix_of(parent, child) is None
    manager.admit(parent, [])
    manager.extend(parent, 9)
    parent.num_computed_tokens = 7
    assert manager.prefix_of(parent, child) is None
    parent.num_computed_tokens = 8
    shared = manager.prefix_of(parent, child)
    assert shared is not None
    assert len(shared) == 2
