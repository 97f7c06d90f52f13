"""Subscriptions under every order of requests, confirmations and interruptions: they end as what is followed."""

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coordinator.adapters.redis.subscriptions import Subscriptions
from coordinator.domain.ids import SessionId

SESSIONS = st.sampled_from([SessionId(letter * 24) for letter in "abc"])


class Machine(RuleBasedStateMachine):
    """A node, and a Redis that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.subscriptions = Subscriptions()
        self.followed: set[SessionId] = set()
        self.told: set[SessionId] = set()
        """Followed sessions that were said to be live since they were followed, and since the last interruption."""
        self.has_work = False
        self.is_connected = False
        self.requests: deque[tuple[str, SessionId]] = deque()
        self.subscribed: set[SessionId] = set()
        """What Redis sends."""

    @rule(session_id=SESSIONS)
    def follow(self, session_id: SessionId) -> None:
        self.has_work |= self.subscriptions.follow(session_id)
        self.followed.add(session_id)

    @rule(session_id=SESSIONS)
    def unfollow(self, session_id: SessionId) -> None:
        self.has_work |= self.subscriptions.unfollow(session_id)
        self.followed.discard(session_id)
        self.told.discard(session_id)

    @rule()
    def interrupt(self) -> None:
        self.subscriptions.disconnected()
        self.is_connected = self.has_work = False
        self.told.clear()
        self.requests.clear()
        self.subscribed.clear()

    @rule()
    def connect(self) -> None:
        if not self.is_connected:
            self.subscriptions.connected()
            self.is_connected = self.has_work = True

    @rule()
    def settle(self) -> None:
        if not self.has_work:
            return
        self.has_work = False
        changes = self.subscriptions.changes()
        self.requests.extend(("subscribe", session_id) for session_id in changes.subscribe)
        self.requests.extend(("unsubscribe", session_id) for session_id in changes.unsubscribe)
        for session_id in changes.revived:
            self.tell(session_id)

    @rule()
    def confirm(self) -> None:
        if not self.requests:
            return
        verb, session_id = self.requests.popleft()
        if verb == "subscribe":
            self.subscribed.add(session_id)
            if self.subscriptions.subscribed(session_id):
                self.tell(session_id)
            else:
                self.has_work = True
        else:
            self.subscribed.discard(session_id)
            assert self.subscriptions.unsubscribed(session_id)
            self.has_work = True

    def tell(self, session_id: SessionId) -> None:
        assert session_id in self.followed
        assert session_id not in self.told, "it was said to be live already"
        self.told.add(session_id)

    @invariant()
    def what_is_live_is_followed_and_subscribed_to_and_its_node_was_told(self) -> None:
        assert self.subscriptions.live == self.told
        assert self.subscriptions.live <= self.followed
        assert self.subscriptions.live <= self.subscribed

    @invariant()
    def of_each_session_one_request_is_under_way_at_most(self) -> None:
        under_way = [session_id for _, session_id in self.requests]
        assert len(under_way) == len(set(under_way))

    def teardown(self) -> None:
        self.connect()
        while self.has_work or self.requests:
            self.settle()
            self.confirm()
        assert self.subscriptions.live == self.followed == self.subscribed


TestSubscriptions = Machine.TestCase


def test_an_end_that_nobody_asked_for_is_told_apart() -> None:
    subscriptions = Subscriptions()
    subscriptions.connected()
    session_id = SessionId("a" * 24)
    subscriptions.follow(session_id)
    assert subscriptions.changes().subscribe == [session_id]
    subscriptions.subscribed(session_id)
    assert not subscriptions.unsubscribed(session_id)


def test_nothing_is_kept_of_what_is_no_longer_followed_while_there_is_no_connection() -> None:
    subscriptions = Subscriptions()
    for number in range(100):
        session_id = SessionId(f"{number:024x}")
        assert not subscriptions.follow(session_id)
        assert not subscriptions.unfollow(session_id)
    subscriptions.connected()
    assert subscriptions.changes() == ([], [], [])
