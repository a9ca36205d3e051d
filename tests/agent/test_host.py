"""The root of the agent's process without its processes: what it passes on to the pages."""

import pytest

from agent import ipc, settings
from agent.host import ENDED, Host
from agent.presence.attendant import Company
from agent.restart import REFUSAL
from agent.roster import Left, Offered, Trickled
from cluster.protocol.messages import Candidate, Control, Item, PeerId


@pytest.fixture
async def host() -> Host:
    return Host(settings.load({}, {}).settings)


async def test_a_fault_is_told_although_another_one_was_told_just_now(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Item] = []
    monkeypatch.setattr(host.signaling, "say", lambda peer, negotiation, item: said.append(item))
    host.on_signal(Offered(PeerId("peer"), "player", "negotiation", "v=0"))
    host.on_media(ipc.Notice("picture", "Nobody is connected yet who would read this."))
    host.on_media(ipc.SessionConnected(1))
    faults = [
        ipc.Notice("sound", "There is no sound."),
        ipc.Notice("picture", "The picture stands still."),
    ]
    for fault in [*faults, *faults]:
        host.on_media(fault)
    assert said == [Control("notice", {"message": fault.message}) for fault in faults]


PAGE = PeerId("peer")


@pytest.fixture
def told(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[ipc.Message]:
    """What the media process was told."""
    messages: list[ipc.Message] = []

    def send(message: ipc.Message) -> bool:
        messages.append(message)
        return True

    monkeypatch.setattr(host.media, "send", send)
    return messages


def offer(host: Host, negotiation: str) -> None:
    host.on_signal(Offered(PAGE, "player", negotiation, "v=0"))


def closed(told: list[ipc.Message]) -> list[int]:
    return [message.session for message in told if isinstance(message, ipc.CloseSession)]


async def test_a_playing_session_ends_when_the_one_after_it_is_connected(
    host: Host, told: list[ipc.Message]
) -> None:
    offer(host, "first")
    host.on_media(ipc.SessionConnected(1))
    offer(host, "second")
    assert closed(told) == []
    assert [row.former for row in told if isinstance(row, ipc.OpenSession)] == [0, 1]
    host.on_media(ipc.SessionConnected(2))
    assert closed(told) == [1]


async def test_a_session_that_never_connected_ends_with_the_next_offer(
    host: Host, told: list[ipc.Message]
) -> None:
    offer(host, "first")
    host.on_media(ipc.SessionConnected(1))
    for number, negotiation in enumerate(("second", "third", "fourth"), 2):
        offer(host, negotiation)
        assert closed(told) == list(range(2, number))


SDP = (
    "v=0\r\no=- 46117314 {version} IN IP4 127.0.0.1\r\n{media}"
    "a=ice-ufrag:{version}\r\na=fingerprint:sha-256 12:{certificate}\r\n"
)
CHANNELS = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"certificate": "CD"}, False),
        ({"media": "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"}, False),
    ],
    ids=["the same connection", "another one", "one without data channels"],
)
async def test_a_restart_of_ice_left_a_page_with_dead_data_channels(
    changes: dict[str, str],
    refused: bool,
    host: Host,
    told: list[ipc.Message],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Item] = []
    monkeypatch.setattr(host.signaling, "say", lambda peer, negotiation, item: said.append(item))
    first = {"version": "2", "media": CHANNELS, "certificate": "AB"} | changes
    host.on_signal(Offered(PAGE, "player", "first", SDP.format(**first)))
    host.on_signal(Offered(PAGE, "player", "again", SDP.format(**first)))
    assert said == []  # of what never came about nothing is lost
    host.on_media(ipc.SessionConnected(2))
    usual = {"version": "3", "media": CHANNELS, "certificate": "AB"}
    host.on_signal(Offered(PAGE, "player", "restart", SDP.format(**usual)))
    assert said == [Control("busy", {"message": REFUSAL})] * refused
    assert closed(told) == [1]
    host.on_signal(Left(PAGE, "lost"))
    host.on_signal(Offered(PAGE, "player", "back", SDP.format(**usual)))
    assert len(said) == refused


async def test_candidates_of_a_connection_that_failed_go_to_no_other(
    host: Host, told: list[ipc.Message]
) -> None:
    offer(host, "first")
    host.on_media(ipc.SessionConnected(1))
    offer(host, "second")
    host.on_signal(Trickled(PAGE, "second", Candidate("c")))
    host.on_media(ipc.SessionClosed(2, "no network path"))
    host.on_signal(Trickled(PAGE, "second", Candidate("late")))
    assert [m.candidate for m in told if isinstance(m, ipc.RemoteCandidate)] == ["c"]


async def test_a_silent_session_asks_its_page_for_a_second_connection(
    host: Host, told: list[ipc.Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(host.signaling, "say", lambda *words: said.append(words))
    offer(host, "first")
    host.on_media(ipc.SessionConnected(1))
    host.on_media(ipc.SessionSilent(1))
    assert said == [(PAGE, "first", Control("renegotiate", {"keep": True}))]
    assert closed(told) == []


async def test_a_page_with_two_connections_is_told_a_fault_once(
    host: Host, told: list[ipc.Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[object] = []
    monkeypatch.setattr(host.signaling, "say", lambda *words: said.append(words))
    offer(host, "first")
    host.on_media(ipc.SessionConnected(1))
    offer(host, "second")
    host.on_media(ipc.Notice("sound", "There is no sound."))
    assert said == [(PAGE, "second", Control("notice", {"message": "There is no sound."}))]


async def test_the_shortcut_keeps_everybody_out_until_it_is_pressed_again(
    host: Host, told: list[ipc.Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, Item]] = []
    killed: list[None] = []
    shown: list[Company] = []
    monkeypatch.setattr(
        host.signaling, "say", lambda peer, negotiation, item: said.append((negotiation, item))
    )
    monkeypatch.setattr(host.media, "kill", lambda: killed.append(None))
    monkeypatch.setattr(host, "_attendant", Shown(shown))
    offer(host, "plays")
    host.on_media(ipc.SessionConnected(1))
    host.on_signal(Offered(PeerId("guest"), "viewer", "watches", "v=0"))
    host.on_media(ipc.SessionConnected(2))
    assert shown[-1] == Company(players=1, viewers=1)
    host.on_shortcut()
    assert said == [("plays", Control("ended")), ("watches", Control("ended"))]
    assert len(killed) == 1
    assert shown[-1] == Company(ended=True)
    before = len(told)
    offer(host, "again")
    assert said[-1] == ("again", Control("busy", {"message": ENDED}))
    assert len(told) == before
    host.on_shortcut()
    assert shown[-1] == Company()
    offer(host, "allowed")
    assert isinstance(told[-1], ipc.OpenSession)
    assert len(killed) == 1


class Shown:
    """Stands in for the attendant: keeps what the person at the host would see."""

    def __init__(self, companies: list[Company]) -> None:
        self._companies = companies

    def show(self, company: Company) -> None:
        self._companies.append(company)
