from pathlib import Path

import pytest
import torch

from engine.cache_dtype import stored_layers
from engine.config import CacheConfig
from engine.errors import CacheSizeError
from engine.kv_cache import KVCache, MemoryBudget, num_blocks_for
from engine.model.geometry import LayerGeometry

CPU = torch.device("cpu")
LAYERS = [
    LayerGeometry(num_kv_heads=2, key_dim=24, value_dim=8, dtype=torch.float32),
    LayerGeometry(num_kv_heads=1, key_dim=16, value_dim=16, dtype=torch.bfloat16),
]
TOKEN_BYTES = 2 * 32 * 4 + 32 * 2
BLOCK_BYTES = 16 * TOKEN_BYTES
GIB = 2**30


def _host(available: int, reserve: int = 0) -> MemoryBudget:
    return MemoryBudget(total=64 * GIB, available=available, reserve=reserve, is_host=True)


def _blocks(
    config: CacheConfig, memory: MemoryBudget, *, max_model_len: int = 64, max_num_seqs: int = 10**6
) -> int:
    return num_blocks_for(
        config, LAYERS, memory=memory, max_model_len=max_model_len, max_num_seqs=max_num_seqs
    )


def test_tensors_have_each_layers_own_shape_and_dtype() -> None:
    cache = KVCache(LAYERS, num_blocks=5, block_size=4, device=CPU)
    assert [tuple(x.shape) for x in cache.keys] == [(5, 4, 2, 24), (5, 4, 1, 16)]
    assert [tuple(x.shape) for x in cache.values] == [(5, 4, 2, 8), (5, 4, 1, 16)]
    assert [x.dtype for x in cache.keys] == [torch.float32, torch.bfloat16]
    assert cache.num_bytes == 5 * 4 * TOKEN_BYTES
    assert all(not x.any() and x.data_ptr() % 64 == 0 for x in (*cache.keys, *cache.values))


def test_memory_is_taken_only_when_it_is_written() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    cache = KVCache(LAYERS, num_blocks=30_000, block_size=16, device=CPU)
    assert cache.num_bytes > 100 * 2**20
    assert resident() - before < 20 * 2**20
    cache.keys[0].fill_(1)
    assert resident() - before > 50 * 2**20


def test_large_tensors_are_zeroed_and_written_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.kv_cache._LEAST_HUGE_BYTES", 1)
    cache = KVCache(LAYERS, num_blocks=3, block_size=16, device=CPU)
    for tensor in (*cache.keys, *cache.values):
        assert tensor.data_ptr() % 64 == 0
        assert not bool(tensor.float().any())
        tensor[1] = 1
        assert float(tensor.float().mean()) == pytest.approx(1 / 3)


def test_a_given_number_of_blocks_is_taken_as_it_is() -> None:
    config = CacheConfig(num_blocks=7, kv_cache_memory_bytes=GIB)
    assert _blocks(config, _host(GIB)) == 7


def test_a_given_size_wins_over_the_share_of_memory() -> None:
    config = CacheConfig(kv_cache_memory_bytes=BLOCK_BYTES * 100 + 1)
    assert _blocks(config, _host(64 * GIB)) == 100


def test_a_host_gives_a_polite_part_of_what_is_left_after_a_step() -> None:
    config = CacheConfig(gpu_memory_utilization=0.8)
    available = BLOCK_BYTES * 1000 + 4096
    assert _blocks(config, _host(available, reserve=4096)) == 400


def test_a_device_gives_its_share_of_the_total_less_what_is_in_use() -> None:
    memory = MemoryBudget(
        total=BLOCK_BYTES * 1000,
        available=BLOCK_BYTES * 700,
        reserve=BLOCK_BYTES * 50,
        is_host=False,
    )
    config = CacheConfig(gpu_memory_utilization=0.9)
    assert _blocks(config, memory) == 900 - 300 - 50


def test_no_more_blocks_than_the_running_requests_can_use() -> None:
    assert _blocks(CacheConfig(), _host(64 * GIB), max_model_len=40, max_num_seqs=3) == 9


def test_less_than_one_request_is_refused_with_the_length_that_fits() -> None:
    config = CacheConfig(kv_cache_memory_bytes=BLOCK_BYTES * 10)
    with pytest.raises(CacheSizeError, match=r"one request of 161 .* --max-model-len to 160 or"):
        _blocks(config, _host(GIB), max_model_len=161)
    assert _blocks(config, _host(GIB), max_model_len=160) == 10


def test_no_room_at_all_is_refused_without_advice_that_cannot_help() -> None:
    with pytest.raises(CacheSizeError) as caught:
        _blocks(CacheConfig(), _host(0, reserve=GIB))
    assert "--max-model-len" not in str(caught.value)


def test_a_cache_that_cannot_be_allocated_says_so() -> None:
    with pytest.raises(CacheSizeError, match="does not fit on cpu"):
        KVCache(LAYERS, num_blocks=10**13, block_size=16, device=CPU)


def test_eight_bits_hold_two_to_four_times_as_many_blocks() -> None:
    layers = stored_layers(LAYERS, "fp8")
    assert [x.bytes_per_token for x in layers] == [2 * 32, 32]
    cache = KVCache(layers, num_blocks=5, block_size=4, device=CPU)
    assert {x.dtype for x in (*cache.keys, *cache.values)} == {torch.float8_e4m3fn}
    assert cache.num_bytes == 5 * 4 * 96
    assert not any(x.view(torch.uint8).any() for x in (*cache.keys, *cache.values))
    assert stored_layers(LAYERS, "auto") == LAYERS
