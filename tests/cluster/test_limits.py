"""The limits that a client can see (docs/protocol.md, Limits): each is answered, counted, and forgets in time."""

from __future__ import annotations

import pytest

from cluster.auth import new_id
from cluster.protocol.messages import PeerId, RoomId
from cluster.proxies import ClientAddress
from cluster.store.base import Admission, JoinRefused, JoinRequest, Store
from tests.cluster import support
from tests.cluster.support import RunningNode


async def _join(store: Store, address: str, resume: Admission | None = None) -> Admission:
    request = JoinRequest(
        room=RoomId(f"r-{address}"),
        peer=PeerId(new_id()),
        role="player",
        dialect="tightbeam",
        capacity=9,
        resume=resume.member.peer if resume else None,
        generation=resume.member.generation if resume else 0,
        address=ClientAddress(address),
        address_limit=3,
    )
    return await store.join(request)


async def test_joins_of_an_address_are_counted_but_for_members_that_come_back(
    node: RunningNode, redis_url: str
) -> None:
    async with support.node(support.base_settings(redis_url)) as other:
        stores = (node.service.store, other.service.store)
        admission = await _join(stores[0], "192.0.2.1")
        await _join(stores[1], "192.0.2.1")
        await _join(stores[0], "192.0.2.1")
        for store in stores:
            with pytest.raises(JoinRefused) as refused:
                await _join(store, "192.0.2.1")
            assert refused.value.code == "rate-limited"
            assert 0 < (refused.value.retry_after_ms or 0) <= 10_000
        await _join(stores[1], "192.0.2.2")
        stale = admission
        for number in range(5):
            admission = await _join(stores[number % 2], "192.0.2.1", admission)
            assert admission.resumed
        with pytest.raises(JoinRefused) as refused:  # an old token is no valid resume
            await _join(stores[0], "192.0.2.1", stale)
        assert refused.value.code == "rate-limited"
