"""A running coordinator's HTTP interface, as commands use it.

Owns addresses, requests and how their failures are told; must not know what they are for.
"""

import re
from typing import Any, TypeVar

import aiohttp
import msgspec

from coordinator.domain.errors import ERRORS, CoordinatorError
from coordinator.settings import Settings, SettingsError

T = TypeVar("T")

_TIMEOUT_SECONDS = 15
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not listened on


class _Problem(msgspec.Struct):
    """What is needed of an `application/problem+json`."""

    code: str
    detail: str
    field: str | None = None


def address_of(settings: Settings) -> str:
    """Return where a coordinator with these settings answers on this machine.

    Raises:
        SettingsError: Its port is 0, so that only the coordinator itself knows.
    """
    host, port = settings.server.host, settings.server.port
    if port == 0:
        raise SettingsError(["server.port: is 0, any free port; name the address with --url"])
    host = _EVERY_INTERFACE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def checked_address(url: str) -> str:
    """Return an address that was typed, without a slash at its end.

    Raises:
        SettingsError: It is not one.
    """
    if re.fullmatch(r"https?://[^\s/?#]+/*", url) is None:
        raise SettingsError([f"--url: got {url[:80]!r}; expected an address such as http://127.0.0.1:8080"])
    return url.rstrip("/")


class ApiClient:
    """Requests to one coordinator.

    Args:
        http: Makes them.
        address: Such as `http://127.0.0.1:8080`.
    """

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self._http = http
        self.address = address

    async def get(self, path: str, token: str, kind: type[T], **query: str) -> T:
        """Read something; `query` are the parameters.

        Raises:
            CoordinatorError: It was refused.
            OSError: No coordinator answers.
        """
        return self._read(await self._request("GET", path, token, params=query), kind)

    async def post(self, path: str, token: str, kind: type[T], body: dict[str, Any], key: str | None = None) -> T:
        """Make something; requests with the same `key` make one.

        Raises:
            CoordinatorError: It was refused.
            OSError: No coordinator answers.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._read(await self._request("POST", path, token, headers=headers, json=body), kind)

    async def _request(
        self, method: str, path: str, token: str, headers: dict[str, str] | None = None, **options: Any
    ) -> bytes:
        headers = {**(headers or {}), "Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with self._http.request(
                method, f"{self.address}/api/v1{path}", headers=headers, timeout=timeout, **options
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(
                f"no coordinator answers at {self.address} ({_reason(error)}): start one with `coordinator serve`, "
                "or name another address with --url"
            ) from error
        if not response.ok:
            raise self._refusal(response.status, body)
        return body

    def _refusal(self, status: int, body: bytes) -> CoordinatorError | OSError:
        try:
            problem = msgspec.json.decode(body, type=_Problem)
            return ERRORS[problem.code](problem.detail, field=problem.field)
        except (msgspec.DecodeError, KeyError):
            return self._stranger(f"HTTP status {status}")

    def _read(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise self._stranger(str(error)) from None

    def _stranger(self, what: str) -> OSError:
        return ConnectionError(f"what answers at {self.address} is no coordinator of this version: {what}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {_TIMEOUT_SECONDS} s"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__
