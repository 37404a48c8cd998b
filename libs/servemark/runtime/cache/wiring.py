"""Puts the cache of a service's process together."""

from prometheus_client import CollectorRegistry

from servemark.runtime.cache.backlog import outbox_backlog
from servemark.runtime.cache.cache import Cache
from servemark.runtime.cache.metrics import CacheMetrics
from servemark.runtime.database import Database
from servemark.runtime.redis_connections import open_cache_redis
from servemark.runtime.settings import ServiceSettings


def open_cache(
    settings: ServiceSettings, registry: CollectorRegistry, *, outbox_of: str | None = None
) -> Cache:
    """The cache of one process: `run` it in the background, and `close` it.

    `outbox_of` is the schema whose events say what changes; None: replies have versions, no tags.
    Without a Redis in the settings only replies with versions are kept, in memory.
    """
    metrics = CacheMetrics(registry)
    if settings.redis_url is None:
        return Cache(None, None, metrics)
    redis = open_cache_redis(settings.redis_url.get_secret_value())
    if outbox_of is None:
        return Cache(redis, None, metrics, closing=(redis.aclose,))
    # One connection of its own, see outbox_backlog.
    database = Database(settings.database_url.get_secret_value(), outbox_of, pool_size=1)
    closing = (redis.aclose, database.close)
    return Cache(redis, outbox_backlog(database), metrics, closing=closing)
