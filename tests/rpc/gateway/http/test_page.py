"""The page's files: kept for ever under their hash, packed, and only those there are."""

import re

import pytest

from tests.rpc.gateway.http.calling import http_client
from tests.rpc.gateway.stand import Stand


async def test_every_file_the_document_names_is_there_to_be_kept(stand: Stand) -> None:
    async with http_client(stand) as client:
        document = await client.get("/")
        assert document.headers["content-type"] == "text/html; charset=utf-8"
        assert document.headers["cache-control"] == "no-cache"
        names = re.findall(r'(?:src|href)="(/page/[^"]+)"', document.text)
        assert len(names) >= 4
        for name in names:
            file = await client.get(name)
            assert file.status_code == 200
            assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert file.headers["content-encoding"] == "gzip"
            assert file.headers["x-content-type-options"] == "nosniff"


async def test_every_import_of_a_module_is_there(stand: Stand) -> None:
    async with http_client(stand) as client:
        document = (await client.get("/")).text
        (main,) = re.findall(r'type="module" src="([^"]+)"', document)
        waiting, seen = [main], set()
        while waiting:
            address = waiting.pop()
            seen.add(address)
            module = await client.get(address)
            assert module.headers["content-type"] == "text/javascript; charset=utf-8", address
            for name in re.findall(r'(?:from |import\()"(\.[^"]+)"', module.text):
                found = str(module.url.join(name).raw_path, "ascii")
                if found not in seen:
                    waiting.append(found)
        assert len(seen) > 25


async def test_an_unchanged_document_is_not_sent_again(stand: Stand) -> None:
    async with http_client(stand) as client:
        etag = (await client.get("/")).headers["etag"]
        again = await client.get("/", headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")


async def test_who_takes_no_gzip_gets_the_same_text(stand: Stand) -> None:
    async with http_client(stand) as client:
        packed = await client.get("/")
        plain = await client.get("/", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.text == packed.text


@pytest.mark.parametrize("name", ["nothing.js", "../settings.py", "%2e%2e/settings.py", ""])
async def test_no_other_file_is_served(stand: Stand, name: str) -> None:
    async with http_client(stand) as client:
        folder = re.findall(r'"(/page/[^"/]+)/', (await client.get("/")).text)[0]
        assert (await client.get(f"{folder}/{name}")).status_code == 404
        assert (await client.get("/page/0000000000000000/main.js")).status_code == 404


async def test_the_policy_lets_only_our_own_files_in(stand: Stand) -> None:
    async with http_client(stand) as client:
        policy = (await client.get("/")).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "style-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
