"""What probes and people ask of a server: does it live, can it work, which version is it."""

from collections.abc import Callable, Mapping
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.gateway.grants import GRANTS_OF_SERVICE


def status_routes(statuses: Callable[[], Mapping[str, bool]]) -> list[Route]:
    """`/healthz`, `/readyz` and `/version`; `statuses` is what gRPC's health check answers."""

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "live"})

    async def readyz(_: Request) -> JSONResponse:
        serving = {**statuses()}
        ready = serving.pop("")
        return JSONResponse(
            {"status": _word(ready), "services": {name: _word(on) for name, on in serving.items()}},
            200 if ready else 503,
        )

    async def contract(_: Request) -> JSONResponse:
        packages = sorted({service.rpartition(".")[0] for service in GRANTS_OF_SERVICE})
        return JSONResponse({"version": version("servemark"), "contracts": packages})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/version", contract),
    ]


def _word(serving: bool) -> str:
    return "SERVING" if serving else "NOT_SERVING"
