"""`/healthz`: the process answers. `/readyz`: so does everything it needs (SPEC section 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from coordinator.ports.journal import OutcomeUnknownError
from coordinator.transports.rest.problems import json_response

_PATIENCE_SECONDS = 3.0


class HealthRoutes:
    """Probes for whatever runs the process. `checks` name what is needed; each fails by `OutcomeUnknownError`."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/healthz", self.healthz), web.get("/readyz", self.readyz)]

    async def healthz(self, _request: web.Request) -> web.Response:
        """Answer: the event loop runs."""
        return json_response({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer 200 when everything that is needed answers, else 503, and say what does not."""
        names = list(self._checks)
        results = await asyncio.gather(*(self._ok(self._checks[name]) for name in names))
        checks = {name: "ok" if ok else "out of reach" for name, ok in zip(names, results, strict=True)}
        ready = all(results)
        body = {"status": "ready" if ready else "unavailable", "checks": checks}
        return json_response(body, status=200 if ready else 503)

    @staticmethod
    async def _ok(check: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await check()
        except (OutcomeUnknownError, TimeoutError):
            return False
        return True
