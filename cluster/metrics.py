"""The node's Prometheus metrics: base units, closed label sets, never a room or a peer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry()
_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Tally(Collector):
    """A counter on the path of a message: plain numbers, as the event loop alone counts and exposes them.

    The library's own counter takes a lock and 0.3 us a message, a fortieth of what a message costs.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._family = (name, text, labels)
        self.counts: dict[tuple[str, ...], int] = {}
        REGISTRY.register(self)

    def labels(self, *row: str) -> None:
        """A series at 0."""
        self.counts[row] = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Part of Collector."""
        name, text, labels = self._family
        family = CounterMetricFamily(name, text, labels=labels)
        for row, count in self.counts.items():
            family.add_metric(row, count)
        yield family


CONNECTIONS: Final = Gauge(
    "tightbeam_websocket_connections",
    "Open WebSockets whose peer has joined a room.",
    ("dialect", "role"),
    registry=REGISTRY,
)
SOCKETS: Final = Gauge("tightbeam_websockets", "Open WebSockets, joined or not.", registry=REGISTRY)
ROOMS: Final = Gauge("tightbeam_rooms", "Rooms with a member on this node.", registry=REGISTRY)
TASKS: Final = Gauge(
    "tightbeam_tasks", "Tasks of the event loop, when the metrics were read.", registry=REGISTRY
)
MESSAGES: Final = Tally(
    "tightbeam_messages_total",
    "Messages of peers that went on to a peer, by type and way; once for each whom they were for.",
    ("type", "path"),
)
RELAY: Final = Histogram(
    "tightbeam_relay_seconds",
    "From the sending node's write to the receiving node's read, by the nodes' clocks.",
    registry=REGISTRY,
    buckets=_FAST,
)
JOIN: Final = Histogram(
    "tightbeam_join_seconds", "Time to join a room in Redis.", registry=REGISTRY, buckets=_FAST
)
REFUSED: Final = Counter(
    "tightbeam_joins_refused_total", "Joins refused, by error code.", ("code",), registry=REGISTRY
)
AUTH_FAILURES: Final = Counter(
    "tightbeam_auth_failures_total",
    "WebSockets refused for their credential or their handshake.",
    ("reason",),
    registry=REGISTRY,
)
JWKS_FETCHES: Final = Counter(
    "tightbeam_jwks_fetches_total",
    "Fetches of the operator's keys by JWKS_URL.",
    ("result",),
    registry=REGISTRY,
)
REDIS_COMMAND: Final = Histogram(
    "tightbeam_redis_script_seconds",
    "Time until Redis answered a script.",
    ("script",),
    registry=REGISTRY,
    buckets=_FAST,
)
REDIS_ERRORS: Final = Counter(
    "tightbeam_redis_errors_total", "Failures of Redis, by kind.", ("kind",), registry=REGISTRY
)
REDIS_BATCH: Final = Histogram(
    "tightbeam_redis_batch_commands",
    "Commands that went to Redis in one write.",
    registry=REGISTRY,
    buckets=(1, 2, 4, 8, 16, 32, 64, 128),
)
SUBSCRIBED: Final = Gauge(
    "tightbeam_redis_subscribed",
    "1 while this node hears its mailbox and Redis takes its commands.",
    registry=REGISTRY,
)
LEASES: Final = Counter(
    "tightbeam_leases_renewed_total",
    "Times that Redis took this node's word that it lives.",
    registry=REGISTRY,
)
REAPED: Final = Counter(
    "tightbeam_members_reaped_total",
    "Members removed because their node or their grace had ended.",
    registry=REGISTRY,
)
RESUMES: Final = Counter(
    "tightbeam_resumes_total", "Peers that came back with their id.", registry=REGISTRY
)
REREGISTRATIONS: Final = Counter(
    "tightbeam_rooms_registered_again_total",
    "Rooms written to Redis again after it had come back empty or older.",
    registry=REGISTRY,
)
DROPPED: Final = Counter(
    "tightbeam_messages_dropped_total", "Messages not delivered.", ("reason",), registry=REGISTRY
)
RATE_LIMITED: Final = Counter(
    "tightbeam_rate_limited_total", "Refusals by a rate limit.", ("kind",), registry=REGISTRY
)
RATE_LIMITS: Final = (
    "messages",
    "ip-messages",
    "room-messages",
    "connections",
    "resumes",
    "waiting",
    "frames",
)
"""The kinds of the above, as docs/protocol.md 3.4 lists them."""
CLOSES: Final = Counter(
    "tightbeam_websocket_closes_total", "WebSockets closed, by code.", ("code",), registry=REGISTRY
)
SLOW_CONSUMERS: Final = Counter(
    "tightbeam_slow_consumers_total",
    "WebSockets closed because their peer did not read.",
    registry=REGISTRY,
)
TELEMETRY: Final = Counter(
    "tightbeam_telemetry_frames_total",
    "Telemetry of hosts, by what became of it.",
    ("outcome",),
    registry=REGISTRY,
)
TURN_CREDENTIALS: Final = Counter(
    "tightbeam_turn_credentials_total", "TURN credentials given to peers.", registry=REGISTRY
)
DRAINING: Final = Gauge("tightbeam_draining", "1 while draining.", registry=REGISTRY)
DRAIN_DEADLINE: Final = Gauge(
    "tightbeam_drain_deadline_timestamp_seconds",
    "When a drain should have ended; 0 while there is none.",
    registry=REGISTRY,
)
PROCESS: Final = ProcessCollector(namespace="tightbeam", registry=REGISTRY)
"""CPU, memory and descriptors of this process; Linux only."""

CLOSE_CODES: Final = frozenset(
    (1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013)
)

# A counter or histogram that has never moved is a series at 0, so that a rate over it is 0 and not absent.
_START_AT_ZERO: Final = (
    (
        MESSAGES,
        [
            (kind, path)
            for kind in ("sync", "offer", "answer", "candidate", "control")
            for path in ("local", "remote")
        ],
    ),
    (
        REFUSED,
        [
            (code,)
            for code in (
                "unauthorized",
                "forbidden",
                "host-present",
                "room-full",
                "rate-limited",
                "unavailable",
                "hello-timeout",
            )
        ],
    ),
    (TELEMETRY, [(outcome,) for outcome in ("kept", "replaced", "invalid", "redis-away")]),
    (
        AUTH_FAILURES,
        [
            (reason,)
            for reason in ("origin", "host", "token", "room", "wss", "subprotocol", "admin")
        ],
    ),
    (JWKS_FETCHES, [("ok",), ("failed",)]),
    (REDIS_ERRORS, [(kind,) for kind in ("connect", "timeout", "refused", "subscription")]),
    (
        REDIS_COMMAND,
        [(name,) for name in ("join", "leave", "reap", "register", "beat", "strike")],
    ),
    (DROPPED, [(reason,) for reason in ("away", "redis", "invalid", "rate", "buffer", "no-peer")]),
    (RATE_LIMITED, [(kind,) for kind in RATE_LIMITS]),
    (CLOSES, [(str(code),) for code in sorted(CLOSE_CODES)] + [("other",)]),
)
for _counter, _rows in _START_AT_ZERO:
    for _row in _rows:
        _counter.labels(*_row)


def count_close(code: int | None) -> None:
    """Count a close; codes outside the closed set are one series."""
    CLOSES.labels(str(code) if code in CLOSE_CODES else "other").inc()


def exposition() -> bytes:
    """Everything in the Prometheus text format."""
    return generate_latest(REGISTRY)
