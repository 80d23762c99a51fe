from prometheus_client import generate_latest

from engine.request import FinishReason
from engine.stats import EngineStats
from jobs.queue import CommitReply, Outcome
from tests.fakes import make_request
from worker.engine_collector import EngineCollector
from worker.metrics import WorkerMetrics

PROMISED = [
    "headrace:num_requests_running",
    "headrace:num_requests_waiting",
    "headrace:kv_cache_usage_perc",
    "headrace:prefix_cache_queries_total",
    "headrace:prefix_cache_hits_total",
    "headrace:prompt_tokens_total",
    "headrace:generation_tokens_total",
    "headrace:time_to_first_token_seconds",
    "headrace:inter_token_latency_seconds",
    "headrace:e2e_request_latency_seconds",
    "headrace:request_queue_time_seconds",
    "headrace:request_prefill_time_seconds",
    "headrace:request_decode_time_seconds",
    "headrace:num_preemptions_total",
    "headrace:request_success_total",
    "headrace:jobs_leased_total",
    "headrace:jobs_reclaimed_total",
    "headrace:jobs_finished_total",
    "headrace:jobs_retried_total",
    "headrace:jobs_dead_lettered",
    "headrace:dead_letters",
    "headrace:jobs_deduped",
    "headrace:backlog_jobs",
    "headrace:sink_flush_seconds",
]


def lines_of(metrics: WorkerMetrics) -> dict[str, float]:
    text = generate_latest(metrics.registry).decode()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def worker_metrics(stats: EngineStats | None = None) -> WorkerMetrics:
    metrics = WorkerMetrics("m")
    metrics.registry.register(EngineCollector(lambda: stats or EngineStats(), "m"))
    return metrics


def test_the_promised_series_exist_before_anything_happened() -> None:
    names = set(lines_of(worker_metrics()))
    for promised in PROMISED:
        assert any(name.startswith(promised) for name in names), promised


def test_engine_stats_are_read_at_each_scrape() -> None:
    lines = lines_of(
        worker_metrics(
            EngineStats(num_running=3, kv_cache_usage=0.25, prefix_cache_hits=7, num_preemptions=2)
        )
    )
    assert lines['headrace:num_requests_running{model_name="m"}'] == 3
    assert lines['headrace:kv_cache_usage_perc{model_name="m"}'] == 0.25
    assert lines['headrace:prefix_cache_hits_total{model_name="m"}'] == 7
    assert lines['headrace:num_preemptions_total{model_name="m"}'] == 2


def test_a_finished_request_is_counted_with_its_times() -> None:
    metrics = worker_metrics()
    request = make_request("r", [1, 2, 3])
    request.output_token_ids = [4, 5, 6]
    request.finish_reason = FinishReason.LENGTH
    request.arrival_s, request.first_scheduled_s = 10.0, 11.0
    request.first_token_s, request.finished_s = 13.0, 17.0
    metrics.request_finished(request)
    lines = lines_of(metrics)
    label = '{model_name="m"}'
    assert lines[f"headrace:request_queue_time_seconds_sum{label}"] == 1
    assert lines[f"headrace:request_prefill_time_seconds_sum{label}"] == 2
    assert lines[f"headrace:time_to_first_token_seconds_sum{label}"] == 3
    assert lines[f"headrace:request_decode_time_seconds_sum{label}"] == 4
    assert lines[f"headrace:e2e_request_latency_seconds_sum{label}"] == 7
    assert lines[f"headrace:inter_token_latency_seconds_count{label}"] == 2
    assert lines[f"headrace:inter_token_latency_seconds_sum{label}"] == 4
    reason = '{finished_reason="length",model_name="m"}'
    assert lines[f"headrace:request_success_total{reason}"] == 1


def test_an_aborted_request_is_no_success() -> None:
    metrics = worker_metrics()
    request = make_request("r", [1])
    request.finish_reason = FinishReason.ABORT
    metrics.request_finished(request)
    lines = lines_of(metrics)
    assert lines['headrace:request_failed_total{finished_reason="abort",model_name="m"}'] == 1
    assert lines['headrace:request_success_total{finished_reason="stop",model_name="m"}'] == 0


def test_only_visible_results_are_finished_jobs() -> None:
    metrics = worker_metrics()
    metrics.job_committed(Outcome.OK, CommitReply.OK)
    metrics.job_committed(Outcome.OK, CommitReply.LAST)
    metrics.job_committed(Outcome.OK, CommitReply.FENCED)
    lines = lines_of(metrics)
    assert lines['headrace:jobs_finished_total{outcome="ok"}'] == 2
    assert lines['headrace:commits_refused_total{reply="FENCED"}'] == 1


def test_a_job_that_was_put_back_is_neither_finished_nor_refused() -> None:
    metrics = WorkerMetrics("m")
    metrics.job_committed(Outcome.ERR, CommitReply.LATER)
    lines = lines_of(metrics)
    assert lines["headrace:jobs_retried_total"] == 1
    assert lines['headrace:jobs_finished_total{outcome="err"}'] == 0
    assert not [name for name in lines if "commits_refused_total{" in name]


def test_every_token_counts_into_the_right_buckets() -> None:
    metrics = worker_metrics()
    request = make_request("r", [1])
    request.output_token_ids = list(range(11))
    request.finish_reason = FinishReason.STOP
    request.arrival_s = request.first_scheduled_s = request.first_token_s = 0.0
    request.finished_s = 0.3  # 30 ms for each of ten gaps
    metrics.request_finished(request)
    lines = lines_of(metrics)
    name = "headrace:inter_token_latency_seconds_bucket"
    assert lines[name + '{le="0.02",model_name="m"}'] == 0
    assert lines[name + '{le="0.04",model_name="m"}'] == 10
    assert lines[name + '{le="+Inf",model_name="m"}'] == 10
