from worker.credit import Ask, CreditWindow


def test_an_empty_window_asks_for_all_of_it() -> None:
    ask = CreditWindow(max_num_seqs=8, kv_cache_tokens=1000).ask()
    assert ask is not None
    assert (ask.num_jobs, ask.cost_tokens) == (16, 4000)


def test_held_jobs_reduce_what_is_asked_for() -> None:
    window = CreditWindow(max_num_seqs=8, kv_cache_tokens=1000)
    window.hold(1500)
    window.hold(500)
    ask = window.ask()
    assert ask is not None
    assert (ask.num_jobs, ask.cost_tokens) == (14, 2000)
    window.drop(1500)
    ask = window.ask()
    assert ask is not None
    assert (ask.num_jobs, ask.cost_tokens) == (15, 3500)


def test_a_window_that_is_nearly_full_of_jobs_waits_for_more_room() -> None:
    window = CreditWindow(max_num_seqs=16, kv_cache_tokens=1000)
    for _ in range(29):
        window.hold(1)
    assert window.ask() is None
    window.drop(1)
    assert window.ask() is not None


def test_a_window_full_of_tokens_asks_for_nothing() -> None:
    window = CreditWindow(max_num_seqs=16, kv_cache_tokens=1000)
    window.hold(4000)
    assert window.ask() is None


def test_a_job_dearer_than_the_window_still_runs_alone() -> None:
    window = CreditWindow(max_num_seqs=1, kv_cache_tokens=10)
    window.hold(10_000)
    assert window.ask() is None
    window.drop(10_000)
    assert window.ask() is not None


def test_a_full_window_still_has_room_for_waiting_clients() -> None:
    window = CreditWindow(max_num_seqs=8, kv_cache_tokens=1000)
    for _ in range(16):
        window.hold(1)
    assert window.ask() is None
    assert window.ask_beyond(0) is None
    assert window.ask_beyond(1) == Ask(1, 4000)
    assert window.ask_beyond(50) == Ask(2, 4000)
    window.hold(1)
    window.hold(1)
    assert window.ask_beyond(50) is None
