"""The connection to MongoDB: what its URL decides, and what it does not."""

import pytest
from pymongo import ReadPreference

from coordinator.adapters.mongo.client import connect

NOWHERE = "mongodb://127.0.0.1:9"


@pytest.mark.parametrize(
    ("url", "retries"),
    [
        pytest.param(f"{NOWHERE}/", True, id="as the driver does"),
        pytest.param(f"{NOWHERE}/?retryWrites=false", False, id="not against a server that pays dearly for it"),
    ],
)
async def test_the_url_says_whether_the_driver_repeats_writes(url: str, retries: bool) -> None:
    database = connect(url, "coordinator")
    options = database.events.database.client.delegate.options
    assert options.retry_writes is retries
    await database.close()


async def test_the_url_has_no_say_in_what_is_guaranteed() -> None:
    database = connect(f"{NOWHERE}/?w=1&journal=false&readConcernLevel=local&readPreference=secondary", "coordinator")
    events = database.events
    assert events.write_concern.document == {"w": "majority", "j": True}
    assert events.read_concern.level == "majority"
    assert events.read_preference == ReadPreference.PRIMARY
    await database.close()
