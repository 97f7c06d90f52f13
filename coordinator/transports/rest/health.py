"""`/healthz`: the process answers. `/readyz`: so does all it needs, and it is not about to stop (SPEC section 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from coordinator.ports.bus import BusOutOfReachError
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.protocol import views
from coordinator.protocol.requests import NoBody, Parameters
from coordinator.transports.rest.operations import Answer, Call, Operation, Outcome, Tag

_PATIENCE_SECONDS = 3.0


class HealthOperations:
    """Probes for whatever runs the process.

    Args:
        checks: What is needed, by name; each fails by `OutcomeUnknownError` or `BusOutOfReachError`.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[object]]]) -> None:
        self._checks = checks
        self._is_draining = False

    def drain(self) -> None:
        """From now on, say that no requests should come here any more: the process is about to stop."""
        self._is_draining = True

    def operations(self) -> list[Operation[Any, Any]]:
        """Return the operations."""
        return [
            Operation(
                method="GET",
                path="/healthz",
                name="getHealth",
                summary="Ask whether the process answers",
                tag=Tag.SYSTEM,
                handler=self.healthz,
                parameters=Parameters,
                body=NoBody,
                roles=None,
                outcomes={HTTPStatus.OK: Outcome(meaning="It does.", view=views.Health)},
            ),
            Operation(
                method="GET",
                path="/readyz",
                name="getReadiness",
                summary="Ask whether requests can be answered",
                tag=Tag.SYSTEM,
                handler=self.readyz,
                parameters=Parameters,
                body=NoBody,
                roles=None,
                outcomes={
                    HTTPStatus.OK: Outcome(meaning="They can.", view=views.Readiness),
                    HTTPStatus.SERVICE_UNAVAILABLE: Outcome(
                        meaning="Something that is needed is out of reach, or the process is about to stop.",
                        view=views.Readiness,
                    ),
                },
            ),
        ]

    async def healthz(self, _call: Call[Parameters, NoBody]) -> Answer:
        """Answer as soon as the process can."""
        return Answer(content=views.Health())

    async def readyz(self, _call: Call[Parameters, NoBody]) -> Answer:
        """Ask everything that is needed, and say what does not answer. A process that stops asks nothing."""
        if self._is_draining:
            return Answer(content=views.Readiness(status="draining", checks={}), status=HTTPStatus.SERVICE_UNAVAILABLE)
        names = list(self._checks)
        results = await asyncio.gather(*(self._ok(self._checks[name]) for name in names))
        ready = all(results)
        view = views.Readiness(
            status="ready" if ready else "unavailable",
            checks={name: "ok" if ok else "out of reach" for name, ok in zip(names, results, strict=True)},
        )
        return Answer(content=view, status=HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @staticmethod
    async def _ok(check: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await check()
        except (OutcomeUnknownError, BusOutOfReachError, TimeoutError):
            return False
        return True
