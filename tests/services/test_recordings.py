"""Recordings are attached once, for users who could be recorded then, and only where they may lie."""

import pytest

from coordinator.domain.errors import NotFoundError, RecordingNotPermittedError, UnavailableError
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Recording
from tests.domain.story import ANNA, BEN, CLEO, END_IT, RECORDER, START, URL, minutes, record
from tests.services.harness import ALLOWED_HOSTS, Node, World, soon


@pytest.fixture
async def session(world: World, node: Node) -> SessionId:
    """A session that started on time and records; Anna has consented, Ben has not."""
    session = await world.open_session(node, [ANNA, BEN])
    anna, _ = await node.joined(session, ANNA, BEN)
    await soon(anna.consent(True))
    await node.do(session, record())
    await world.at(minutes(5))
    return session


def recording(who: UserId = ANNA, url: str = URL, at: float = 1) -> Recording:
    """A recording that begins `at` minutes after the start."""
    return Recording(user_id=who, url=url, start_time=START + minutes(at))


async def test_a_recording_is_attached_once(world: World, node: Node, session: SessionId) -> None:
    assert (await soon(node.recordings.attach(RECORDER, session, recording()))).is_new
    seq = (await world.state(session)).seq
    later = recording(at=2)
    assert not (await soon(node.recordings.attach(RECORDER, session, recording()))).is_new
    assert not (await soon(node.recordings.attach(RECORDER, session, later))).is_new, (
        "the user and the URL make it the same"
    )
    assert (await world.state(session)).seq == seq
    another = recording(url=URL + "2")
    assert (await soon(node.recordings.attach(RECORDER, session, another))).is_new
    assert list(await soon(node.recordings.of_session(session))) == [recording(), another]
    assert (await world.log(session))[-1].actor == RECORDER


async def test_what_another_node_attached_is_not_new(world: World, node: Node, session: SessionId) -> None:
    other = world.node("b0")
    await other.room(session)
    assert (await soon(node.recordings.attach(RECORDER, session, recording()))).is_new
    assert not (await soon(other.recordings.attach(RECORDER, session, recording()))).is_new
    assert list(await soon(other.recordings.of_session(session))) == [recording()]


async def test_recordings_are_attached_after_the_end(world: World, node: Node, session: SessionId) -> None:
    await node.do(session, END_IT)
    await world.clock.advance(3600)
    node.rooms.drop_idle()
    assert (await soon(node.recordings.attach(RECORDER, session, recording()))).is_new
    assert not (await soon(node.recordings.attach(RECORDER, session, recording()))).is_new


@pytest.mark.parametrize(
    ("who", "at"),
    [(BEN, 1), (CLEO, 1), (ANNA, -0.001), (ANNA, 5.001)],
    ids=["no consent", "never there", "before the start", "still to come"],
)
async def test_only_who_could_be_recorded_then(
    world: World, node: Node, session: SessionId, who: UserId, at: float
) -> None:
    with pytest.raises(RecordingNotPermittedError) as caught:
        await soon(node.recordings.attach(RECORDER, session, recording(who, at=at)))
    assert caught.value.field == ("userId" if who is CLEO else "startTime")
    assert list(await soon(node.recordings.of_session(session))) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://r2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com./a",
        "https://R2.CloudFlareStorage.COM/a?b=c#d",
        "HTTPS://bucket-1.account_2.r2.cloudflarestorage.com/a%20b",
        "https://r2.cloudflarestorage.com:8443",
        "https://recordings.example",
        "https://recordings.example/@evil.example",
        "https://recordings.example?x=https://evil.example",
    ],
)
async def test_allowed_hosts(world: World, node: Node, session: SessionId, url: str) -> None:
    assert (await soon(node.recordings.attach(RECORDER, session, recording(url=url)))).is_new
    assert [item.url for item in await soon(node.recordings.of_session(session))] == [url]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "r2.cloudflarestorage.com/a",
        "//r2.cloudflarestorage.com/a",
        "http://r2.cloudflarestorage.com/a",
        "ftp://r2.cloudflarestorage.com/a",
        "javascript:alert(1)//r2.cloudflarestorage.com",
        "https:r2.cloudflarestorage.com/a",
        "https:/r2.cloudflarestorage.com/a",
        "https:///r2.cloudflarestorage.com/a",
        "https://evil.example/r2.cloudflarestorage.com",
        "https://evil.example?r2.cloudflarestorage.com",
        "https://evil.example#.r2.cloudflarestorage.com",
        "https://evilr2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com.evil.example/a",
        "https://cloudflarestorage.com/a",
        "https://.r2.cloudflarestorage.com/a",
        "https://a..r2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com../a",
        "https://user@r2.cloudflarestorage.com/a",
        "https://user:secret@r2.cloudflarestorage.com/a",
        "https://@r2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com@evil.example/a",
        "https://r2.cloudflarestorage.com:443@evil.example/a",
        "https://evil.example:r2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com:99999/a",
        "https://r2.cloudflarestorage.com:0/a",
        "https://r2.cloudflarestorage.com:-1/a",
        "https://evil.example\\.r2.cloudflarestorage.com/a",
        "https://evil.example\\@r2.cloudflarestorage.com/a",
        "https://evil.example%2f.r2.cloudflarestorage.com/a",
        "https://evil.example%00.r2.cloudflarestorage.com/a",
        "https://evil.example\x00.r2.cloudflarestorage.com/a",
        "https://evil.example\t.r2.cloudflarestorage.com/a",
        "https://evil.example\n/.r2.cloudflarestorage.com/a",
        "https://evil.example .r2.cloudflarestorage.com/a",
        'https://r2.cloudflarestorage.com/a"b',
        " https://r2.cloudflarestorage.com/a",
        "https://r2.cloudflarestorage.com/a b",
        "https://r2。cloudflarestorage。com/a",
        "https://r2.cloudfl\u0430restorage.com/a",
        "https://r2.cloudflarestorage.com\uff0fevil.example/a",
        "https://\u24e1ecordings.example/a",
        "https://[::1]/a",
        "https://[::ffff:r2.cloudflarestorage.com]/a",
        "https://[r2.cloudflarestorage.com/a",
    ],
)
async def test_no_url_leads_anywhere_else(world: World, node: Node, session: SessionId, url: str) -> None:
    with pytest.raises(RecordingNotPermittedError) as caught:
        await soon(node.recordings.attach(RECORDER, session, recording(url=url)))
    assert caught.value.field == "url"
    assert list(await soon(node.recordings.of_session(session))) == []


def test_the_hosts_of_these_tests_are_those_that_are_allowed() -> None:
    assert ALLOWED_HOSTS == ["r2.cloudflarestorage.com", "recordings.example"]


@pytest.mark.parametrize("unknown", ["e" * 24, "nonsense"])
async def test_an_unknown_session_is_not_found(world: World, node: Node, unknown: str) -> None:
    for work in (
        node.recordings.attach(RECORDER, SessionId(unknown), recording()),
        node.recordings.of_session(SessionId(unknown)),
    ):
        with pytest.raises(NotFoundError):
            await soon(work)


async def test_a_database_that_is_away_is_said_to_be(world: World, node: Node, session: SessionId) -> None:
    node.line.is_cut = True
    with pytest.raises(UnavailableError):
        await soon(node.recordings.attach(RECORDER, session, recording()))
    with pytest.raises(UnavailableError):
        await soon(node.recordings.of_session(session))
