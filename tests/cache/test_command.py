"""`servemark cache`, on a real Redis and a real metrics page."""

import json
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.families import (
    CHANNEL,
    HARDWARE_LIST,
    MODEL_DETAILS,
    RECOMMENDATIONS,
    version_key,
)
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.telemetry import metrics_page
from tests.support.command import Run, run
from tests.support.stack import free_block

__all__ = ["run"]

MODEL, OTHER = MODEL_DETAILS.key("m"), MODEL_DETAILS.key("n")
LIST, VARIANT = HARDWARE_LIST.key(), HARDWARE_LIST.key(variant=b"small")
EVENTS, TOKEN = "servemark:events:catalog", version_key("catalog:models:m")


@pytest.fixture
def filled(valkey: str, monkeypatch: pytest.MonkeyPatch) -> redis.Redis:
    """A Redis with some replies, and what else lies there."""
    monkeypatch.setenv("SERVEMARK_REDIS_URL", valkey)
    client = redis.Redis.from_url(valkey)
    for key in (MODEL, OTHER, LIST, VARIANT, EVENTS, TOKEN):
        client.set(key, b"x" * 100)
    return client


def _left(filled: redis.Redis) -> set[str]:
    return {key.decode() for key in filled.scan_iter()}


def test_the_whole_cache_a_family_or_a_key_is_dropped_and_nothing_else(
    run: Run, filled: redis.Redis
) -> None:
    done = run("cache", "drop", MODEL.removeprefix("servemark:"))
    assert (done.code, done.out) == (0, "1 key dropped.\n")
    assert _left(filled) == {OTHER, LIST, VARIANT, EVENTS, TOKEN}
    assert run("cache", "drop", "hardware_list").out == "2 keys dropped.\n"
    assert _left(filled) == {OTHER, EVENTS, TOKEN}
    assert run("cache", "drop").out == "1 key dropped.\n"
    assert _left(filled) == {EVENTS, TOKEN}


def test_every_process_is_told_what_is_dropped(run: Run, filled: redis.Redis) -> None:
    pubsub = filled.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    with pubsub as listener:
        listener.subscribe(CHANNEL)
        listener.get_message(timeout=5)
        run("cache", "drop", "recommendations")
        said = listener.get_message(timeout=5)
    assert said is not None
    beginnings = CacheInvalidation.FromString(said["data"]).key_prefixes
    assert RECOMMENDATIONS.key("anybody", "chatbot").startswith(tuple(beginnings))
    assert not MODEL.startswith(tuple(beginnings))


def test_what_is_neither_a_family_nor_a_key_is_wrong_usage(run: Run, filled: redis.Redis) -> None:
    for wrong in ("nonsense", "events:catalog", "version:catalog:models:m"):
        assert run("cache", "drop", wrong).code == 2
    assert _left(filled) == {MODEL, OTHER, LIST, VARIANT, EVENTS, TOKEN}


def test_the_stats_say_what_is_held_and_which_level_answered(
    run: Run, filled: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = free_block()
    monkeypatch.setenv("SERVEMARK_METRICS_PORT", str(base))
    registry = CollectorRegistry()
    metrics = CacheMetrics(registry)
    for level, count in (("L1", 90), ("L2", 5), ("DB", 5)):
        metrics.reads.labels("model_details", level).inc(count)
    with metrics_page("127.0.0.1", base + 1, registry):
        shown, printed = run("cache", "stats"), run("cache", "stats", "--json")
    lines = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines() if line.split()}
    assert lines["model_details"][0] == "2"
    assert lines["model_details"][-4:] == ["90", "5", "5", "95.0%"]
    assert lines["hardware_list"][-1] == "-"
    found = {one["family"]: one for one in json.loads(printed.out)}
    assert found["hardware_list"]["entries"] == 2
    assert found["hardware_list"]["bytes"] > 200
    assert found["model_details"]["reads"] == {"L1": 90, "L2": 5, "DB": 5}


def test_without_a_redis_it_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SERVEMARK_REDIS_URL", raising=False)
    monkeypatch.delenv("SERVEMARK_DATABASE_URL", raising=False)
    done = run("cache", "stats", "--data-dir", tmp_path)
    assert done.code == 1
    assert "There is no Redis" in done.err
