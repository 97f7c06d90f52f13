"""What the OpenAPI document cannot say about valid requests, said to Schemathesis in its own process.

Owns the exceptions from "whatever fits the schema is accepted", one function for each, with its reason. Requests that
are meant to be wrong are left as they are.
"""

import itertools
import json
import os
import zlib
from typing import Any
from zoneinfo import available_timezones

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

_KEY = "Idempotency-Key"
_IF_MATCH = "If-Match"
_KEY_LENGTH = 255
_DEFAULT_MOST = 8
_GREGORIAN_CYCLE = 400
_MOMENTS = ("the slot's session is open; its rules are fixed", "seats of the slot at")
_ENDING = ("endSession", "withdrawTimeSlot", "changeTimeSlot")

_spared: dict[str, str] = json.loads(os.environ["SPARED"])
_numbers = itertools.count()
_zones = sorted(available_timezones() - {"localtime", "Factory"})


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Make requests that fit the schema ones that may be accepted."""
    name = case.operation.definition.raw["operationId"]
    if name in _ENDING:
        _spare(case)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.headers and _KEY in case.headers:
        case.headers[_KEY] = _new_key(case.headers[_KEY])
    if case.headers and case.headers.get(_IF_MATCH) == "0":
        del case.headers[_IF_MATCH]  # the coverage phase takes it for right, though its pattern says otherwise
    if isinstance(case.body, dict) and name in ("offerTimeSlot", "changeTimeSlot"):
        case.body = _sensible(case.body, is_change=name == "changeTimeSlot")


def _spare(case: Case[Any]) -> None:
    """One session goes on, or soon everything that can be asked of sessions would be answered by "ended"."""
    for name, value in case.path_parameters.items():
        case.path_parameters[name] = _spared.get(str(value), value)


def _new_key(key: str) -> str:
    """A key belongs to one request; a schema cannot ask for one that nobody has used."""
    suffix = f"-{next(_numbers)}"
    return key[: _KEY_LENGTH - len(suffix)] + suffix


def _sensible(body: dict[str, Any], *, is_change: bool) -> dict[str, Any]:
    if body.get("isActive") is False:
        return {"isActive": False}  # it goes alone, which schemas can say only in a way that nobody can read
    sensible = dict(body)
    if "startTime" in body:
        sensible["startTime"] = _in_future(body["startTime"])
    if "timezone" in body:
        sensible["timezone"] = _zone(body["timezone"])
    least, most = body.get("minParticipants"), body.get("maxParticipants")
    if is_change and (least is None) != (most is None):
        # One of them is compared with the other as it is stored.
        sensible["minParticipants"] = sensible["maxParticipants"] = most if least is None else least
    elif least is not None:
        sensible["minParticipants"] = min(least, _DEFAULT_MOST if most is None else most)  # no schema compares fields
    return sensible


def _in_future(moment: str) -> str:
    """The schema knows no time: another year, as long and with the same days, so that every date stays one."""
    return f"{2400 + int(moment[:4]) % _GREGORIAN_CYCLE}{moment[4:]}"


def _zone(name: str) -> str:
    """The schema does not list the hundreds of names that there are."""
    return name if name in _zones else _zones[zlib.crc32(name.encode()) % len(_zones)]


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Tell whether a failure is one."""
    return not (_is_readable_by_design(failure) or _is_about_the_moment(failure, response))


def _is_readable_by_design(failure: Failure) -> bool:
    """Withdrawn slots stay readable: those who had booked them shall see what became of them."""
    return isinstance(failure, UseAfterFree) and failure.operation == "DELETE /api/v1/time-slots/{slotId}"


def _is_about_the_moment(failure: Failure, response: Response) -> bool:
    """Whether a change fits a slot also depends on what has become of it, which no schema knows."""
    return isinstance(failure, RejectedPositiveData) and any(words in response.text for words in _MOMENTS)
