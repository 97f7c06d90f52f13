"""The claim of one slot alone, as most tests want it."""

from coordinator.domain.ids import SessionId
from coordinator.domain.model import TimeSlot
from coordinator.ports.catalog import Catalog, Claim


async def claim(catalog: Catalog, slot: TimeSlot, session_id: SessionId) -> TimeSlot | None:
    """Claim a slot; return it as it is then, if it has a session."""
    claimed = await catalog.claim_sessions([Claim(slot, session_id)])
    assert len(claimed) <= 1
    return claimed[0] if claimed else None
