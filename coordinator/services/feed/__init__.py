"""The durable feed of all sessions for named consumers (SPEC section 3, `/recording`).

Reading order: `feed` (who subscribes), `delivery` (what is sent), `delivered` (what comes twice or is missing), `acks`
(what becomes durable), `tail` (the shared reader).
"""

from coordinator.services.feed.acks import WINDOW
from coordinator.services.feed.feed import ConsumerLag, Feed, Subscribed

__all__ = ["WINDOW", "ConsumerLag", "Feed", "Subscribed"]
