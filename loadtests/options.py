"""What can be asked for on Locust's command line and in its web UI, each with a word of help."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from loadtests.conversation import Script
from loadtests.plan import USERS_AT

PLAIN_MODES: Final = ("rooms", "pure")
STOP_TIMEOUT_S: Final = 45.0
"""For sessions to end in order: the limits of a session and of a host that waits for its guests."""

COUNTS: Final = {
    "lost": "messages of the Tightbeam dialect that were said and did not come out",
    "doubled": "messages of either dialect that came out twice",
    "reordered": "messages of either dialect that came out after a later one",
    "unfinished": "sides of Tightbeam sessions that did not hear the other out in time",
    "given-up": "sides of Tightbeam sessions whose other side was lost to them",
    "plain-lost": "messages lost in the plain dialect, and its sides unfinished; it repeats nothing",
}


def add(parser: Any) -> None:
    """All options."""
    _add_users(parser.add_argument_group("Tightbeam: what users do"))
    _add_ways(parser.add_argument_group("Tightbeam: where they come from, and their tokens"))
    _add_shape(parser.add_argument_group("Tightbeam: the shape of the load"))
    _add_thresholds(parser.add_argument_group("Tightbeam: what makes the run fail (exit status 1)"))
    # 0 would cut sessions off at the end, and what was on its way would seem lost.
    parser.set_defaults(stop_timeout=STOP_TIMEOUT_S)


def _add(group: Any, name: str, text: str, *, web: bool = True, **options: Any) -> None:
    """One option. A group knows nothing of the web UI, which asks each action for this mark."""
    group.add_argument(name, help=text, **options).include_in_web_ui = web


def _add_users(group: Any) -> None:
    seconds: dict[str, Any] = {"type": float, "metavar": "S"}
    number: dict[str, Any] = {"type": int, "metavar": "N"}
    _add(group, "--hold", "Seconds from answer to bye of a viewer (30)", default=30.0, **seconds)
    text = "Seconds until each side of a session says something again; 0: never (5)"
    _add(group, "--talk-every", text, default=5.0, **seconds)
    _add(group, "--candidates", "ICE candidates of each side (10)", default=10, **number)
    _add(group, "--sdp-bytes", "Bytes of an offer or answer (3000)", default=3000, **number)
    text = "Seconds of silence after which a client asks its node for a sign of life (2.5, as page and agent)"
    _add(group, "--heartbeat", text, default=2.5, **seconds)
    text = "Rooms by id, or the one pair of each node with --mode pure: name one node, one PlainHostUser (rooms)"
    _add(group, "--plain-mode", text, choices=PLAIN_MODES, default="rooms")


def _add_ways(group: Any) -> None:
    text = """Lines `ROOM ROLE TOKEN`, role host, viewer or player; exactly these rooms are used. Without it rooms get
        names of their own, and tokens are signed with JWT_SECRET of the environment, if it is set (JWT_ISSUER,
        JWT_AUDIENCE, ROOMS_CLAIM as the nodes have them). A plain client can only send its token in the URL of its
        socket; nothing here shows that URL"""
    _add(group, "--token-file", text, web=False, default="", metavar="FILE")
    text = """Each socket comes from an address of this network, such as 127.1.0.0/16 on loopback: beyond 28,000 sockets
        to one address, and so that limits by client address do not take all users for one"""
    _add(group, "--sources", text, web=False, default="", metavar="NETWORK")
    text = "CA of the nodes' certificates in PEM, for https"
    _add(group, "--ca-file", text, web=False, default="", metavar="FILE")


def _add_shape(group: Any) -> None:
    text = """ramp-hold: to --users at --spawn-rate, and stay. step: there in --steps equal steps. spike: a fifth, and
        all --steps times for a while. reconnect-storm: --steps times all lose their sockets at once. rolling-restart:
        --steps groups lose theirs one after another, spread over 5 s each, as by nodes that drain (ramp-hold)"""
    _add(group, "--shape", text, choices=tuple(USERS_AT), default="ramp-hold")
    _add(group, "--steps", "Steps, spikes, storms or groups (3)", type=int, default=3, metavar="N")


def _add_thresholds(group: Any) -> None:
    for name, text in COUNTS.items():
        _add(group, f"--max-{name}", f"Allowed: {text} (0)", type=int, default=0, metavar="N")
    for name, way in (("answer", "offer to its answer"), ("join", "hello to welcome")):
        text = f"Milliseconds allowed from {way}, in 95 of 100 (1000)"
        _add(group, f"--max-{name}-p95", text, type=float, default=1000.0, metavar="MS")


def scripts(options: Any) -> tuple[Script, Script]:
    """What viewers and hosts do, and what players do that come and go. Raises ValueError in words."""
    script = Script(
        candidates=int(options.candidates),
        sdp_bytes=int(options.sdp_bytes),
        hold_s=float(options.hold),
        talk_every_s=float(options.talk_every),
        heartbeat_s=float(options.heartbeat),
    )
    return script, replace(script, hold_s=0.0)
