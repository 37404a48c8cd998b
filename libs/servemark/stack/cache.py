"""Looking into the caches, and emptying them."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import RedisError

from servemark.cache.v1.cache_pb2 import CacheInvalidation
from servemark.runtime.cache.families import CHANNEL, FAMILIES, PREFIX, Family
from servemark.runtime.settings import SERVICES, ServiceSettings
from servemark.stack.doctor import addresses
from servemark.stack.errors import StackError
from servemark.stack.files import DataDir

_READS: Final = "servemark_cache_reads_total"
_SECONDS: Final = 3.0
_BATCH: Final = 500


@dataclass
class FamilyStats:
    """What Redis holds of a family, and how often each level answered since the services started.

    `reads` is by level (L1, L2, DB), empty where no metrics page answers.
    """

    family: str
    entries: int = 0
    bytes: int = 0
    reads: dict[str, int] = field(default_factory=dict)


def stats(root: Path, settings: ServiceSettings) -> list[FamilyStats]:
    """A line for each family. Raises StackError where there is no Redis or it does not answer."""
    found = asyncio.run(_stored(_url(root)))
    for service in SERVICES:
        for family, level, count in _reads(settings.metrics_port_of(service)):
            reads = found[family].reads
            reads[level] = reads.get(level, 0) + count
    return list(found.values())


def drop(root: Path, what: str | None) -> int:
    """Forgets a family, a key or everything, everywhere; how many replies Redis held of it.

    Raises StackError, and LookupError for what is neither a family nor a key.
    """
    url = _url(root)
    if what is None:
        families = list(FAMILIES.values())
        return asyncio.run(
            _drop(url, [one.glob for one in families], [one.prefix for one in families])
        )
    if what in FAMILIES:
        return asyncio.run(_drop(url, [FAMILIES[what].glob], [FAMILIES[what].prefix]))
    key = what if what.startswith(PREFIX) else PREFIX + what
    if _family_of(key) is None:
        raise LookupError(what)
    return asyncio.run(_drop(url, [_literal(key)], [key]))


def _url(root: Path) -> str:
    _, url, _ = addresses(DataDir(root.resolve()))
    if not url:
        raise StackError("There is no Redis: run `servemark up`, or set SERVEMARK_REDIS_URL.")
    return url


async def _stored(url: str) -> dict[str, FamilyStats]:
    found = {name: FamilyStats(name) for name in FAMILIES}
    async with _redis(url) as redis:
        async for keys in _keys(redis, f"{PREFIX}*"):
            async with redis.pipeline(transaction=False) as pipeline:
                known = [(key, family) for key in keys if (family := _family_of(key)) is not None]
                for key, _ in known:
                    pipeline.memory_usage(key)
                sizes = await pipeline.execute()
            for (_, family), size in zip(known, sizes, strict=True):
                # One that went meanwhile has no size.
                found[family.name].entries += size is not None
                found[family.name].bytes += size or 0
    return found


async def _drop(url: str, globs: list[str], prefixes: list[str]) -> int:
    count = 0
    async with _redis(url) as redis:
        for glob in globs:
            async for keys in _keys(redis, glob):
                count += await redis.unlink(*keys)
        said = CacheInvalidation(key_prefixes=prefixes)
        await redis.publish(CHANNEL, said.SerializeToString())
    return count


async def _keys(redis: Redis, glob: str) -> AsyncIterator[list[str]]:
    """The keys that match, some at a time."""
    some: list[str] = []
    async for key in redis.scan_iter(glob, count=_BATCH):
        some.append(key.decode())
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)
    try:
        yield redis
    except (RedisError, OSError) as error:
        raise StackError(f"Redis does not answer: {type(error).__name__}.") from None
    finally:
        await redis.aclose()


def _family_of(key: str) -> Family | None:
    for family in FAMILIES.values():
        if fnmatchcase(key, family.glob):
            return family
    return None


def _literal(key: str) -> str:
    """A pattern that this key alone matches."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in key)


def _reads(port: int) -> Iterator[tuple[str, str, int]]:
    """Family, level and count of what a metrics page says; nothing where none answers."""
    if not port:
        return
    try:
        address = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(address, timeout=_SECONDS) as page:
            text = page.read().decode()
    except OSError:
        return
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            if sample.name == _READS and sample.labels["family"] in FAMILIES:
                yield sample.labels["family"], sample.labels["level"], int(sample.value)
