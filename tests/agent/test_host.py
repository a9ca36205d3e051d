"""The root of the agent's process without its processes: what it passes on to the pages."""

import pytest

from agent import ipc, settings
from agent.host import Host
from agent.roster import Offered
from cluster.protocol.messages import Control, Item, PeerId


@pytest.fixture
async def host() -> Host:
    return Host(settings.load({}, {}).settings)


async def test_a_fault_is_told_although_another_one_was_told_just_now(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Item] = []
    monkeypatch.setattr(host.signaling, "say", lambda peer, negotiation, item: said.append(item))
    host.on_signal(Offered(PeerId("peer"), "player", "negotiation", "v=0"))
    faults = [
        ipc.Notice("sound", "There is no sound."),
        ipc.Notice("picture", "The picture stands still."),
    ]
    for fault in [*faults, *faults]:
        host.on_media(fault)
    assert said == [Control("notice", {"message": fault.message}) for fault in faults]
