"""The dashboard *Cluster*: rate, errors and durations of the nodes, Redis, drains, and what is left of each node."""

from __future__ import annotations

from typing import Final

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import mean, of, quantile, rate

NODES: Final = 'job="tightbeam-node"'


def _quantiles(name: str) -> tuple[Query, ...]:
    shares = ((0.5, "median"), (0.95, "95th percentile"), (0.99, "99th percentile"))
    return tuple(Query(quantile(share, name), words) for share, words in shares)


def _stat(title: str, description: str, unit: str, expr: str) -> Panel:
    return Panel(title, description, unit, (Query(expr, title),), "stat", 4)


NOW: Final = Row(
    "Now",
    (
        _stat(
            "Nodes",
            "Nodes that answer Prometheus.",
            "short",
            f"sum({of('up', NODES)})",
        ),
        _stat(
            "Nodes that hear Redis",
            "Nodes whose mailbox in Redis is subscribed; the others take no peers.",
            "short",
            f"sum({of('tightbeam_redis_subscribed')})",
        ),
        _stat("WebSockets", "Open, joined or not.", "short", f"sum({of('tightbeam_websockets')})"),
        _stat(
            "Rooms",
            "Rooms with a member, once for each node that it has members on.",
            "short",
            f"sum({of('tightbeam_rooms')})",
        ),
        _stat(
            "Messages",
            "That went on to a peer.",
            "reqps",
            f"sum({rate('tightbeam_messages_total')})",
        ),
        _stat(
            "Relay, 99th percentile",
            "From one node's write to another node's read; the objective is 50 ms.",
            "s",
            quantile(0.99, "tightbeam_relay_seconds"),
        ),
    ),
)
RED: Final = Row(
    "Rate, errors, durations",
    (
        Panel(
            "Messages by type",
            "Messages that went on, once for each peer whom they were for.",
            "reqps",
            (Query(f"sum by (type) ({rate('tightbeam_messages_total')})", "{{type}}"),),
        ),
        Panel(
            "Messages by way",
            "local: between two peers of one node, past Redis. remote: into another node's mailbox.",
            "reqps",
            (Query(f"sum by (path) ({rate('tightbeam_messages_total')})", "{{path}}"),),
        ),
        Panel(
            "Joins",
            "Peers that joined a room, and those among them that came back with their id.",
            "reqps",
            (
                Query(f"sum({rate('tightbeam_join_seconds_count')})", "joined"),
                Query(f"sum({rate('tightbeam_resumes_total')})", "resumed"),
            ),
        ),
        Panel(
            "Refused joins",
            "By the code that the peer is told.",
            "reqps",
            (Query(f"sum by (code) ({rate('tightbeam_joins_refused_total')})", "{{code}}"),),
        ),
        Panel(
            "Refused credentials and handshakes",
            "By what was wrong: a foreign Origin or Host, a token, its room, no TLS, no subprotocol.",
            "reqps",
            (Query(f"sum by (reason) ({rate('tightbeam_auth_failures_total')})", "{{reason}}"),),
        ),
        Panel(
            "Dropped messages",
            "Of a Tightbeam negotiation they come again.",
            "reqps",
            (Query(f"sum by (reason) ({rate('tightbeam_messages_dropped_total')})", "{{reason}}"),),
        ),
        Panel(
            "Relay between nodes",
            "From the sending node's write to the receiving node's read, by the nodes' clocks.",
            "s",
            _quantiles("tightbeam_relay_seconds"),
            width=12,
        ),
        Panel(
            "Join",
            "Until Redis let a peer into its room.",
            "s",
            _quantiles("tightbeam_join_seconds"),
            width=12,
        ),
    ),
)
CONNECTIONS: Final = Row(
    "Connections",
    (
        Panel(
            "Joined WebSockets by role",
            "Of both dialects, on all nodes.",
            "short",
            (
                Query(
                    f"sum by (dialect, role) ({of('tightbeam_websocket_connections')})",
                    "{{dialect}} {{role}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "WebSockets by node",
            "Whether one node has more than its share: the alert LoadSkew.",
            "short",
            (Query(of("tightbeam_websockets"), "{{instance}}"),),
        ),
        Panel(
            "Closes by code",
            "Whoever did it; 1006 is an end without a close frame, 1012 a drain.",
            "reqps",
            (Query(f"sum by (code) ({rate('tightbeam_websocket_closes_total')})", "{{code}}"),),
        ),
        Panel(
            "Rate limits",
            "Refusals by the kind of the limit.",
            "reqps",
            (Query(f"sum by (kind) ({rate('tightbeam_rate_limited_total')})", "{{kind}}"),),
        ),
        Panel(
            "Slow consumers",
            "WebSockets that were closed because their peer did not read.",
            "reqps",
            (
                Query(
                    f"sum by (instance) ({rate('tightbeam_slow_consumers_total')})", "{{instance}}"
                ),
            ),
        ),
        Panel(
            "TURN credentials",
            "Given to peers that joined, and every five minutes to those that stay.",
            "reqps",
            (
                Query(
                    f"sum by (instance) ({rate('tightbeam_turn_credentials_total')})",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
REDIS: Final = Row(
    "Redis",
    (
        Panel(
            "Scripts, 99th percentile",
            "Until Redis answered, failures included.",
            "s",
            (Query(quantile(0.99, "tightbeam_redis_script_seconds", ", script"), "{{script}}"),),
        ),
        Panel(
            "Scripts",
            "Calls by script.",
            "reqps",
            (
                Query(
                    f"sum by (script) ({rate('tightbeam_redis_script_seconds_count')})",
                    "{{script}}",
                ),
            ),
        ),
        Panel(
            "Failures",
            "No connection, no answer in time, an error for an answer, a subscription that did not hear.",
            "reqps",
            (Query(f"sum by (kind) ({rate('tightbeam_redis_errors_total')})", "{{kind}}"),),
        ),
        Panel(
            "Commands in one write",
            "The mean; more under load, as the commands of one turn of the event loop go together.",
            "short",
            (
                Query(
                    mean("tightbeam_redis_batch_commands"),
                    "commands",
                ),
            ),
            width=6,
        ),
        Panel(
            "Subscription",
            "1 while a node hears its mailbox.",
            "short",
            (Query(of("tightbeam_redis_subscribed"), "{{instance}}"),),
            width=6,
        ),
        Panel(
            "Leases and repairs",
            "Leases renewed by nodes, members removed after their node or their grace ended, rooms written again.",
            "reqps",
            (
                Query(f"sum({rate('tightbeam_leases_renewed_total')})", "leases renewed"),
                Query(f"sum({rate('tightbeam_members_reaped_total')})", "members reaped"),
                Query(
                    f"sum({rate('tightbeam_rooms_registered_again_total')})", "rooms written again"
                ),
            ),
            width=6,
        ),
        Panel(
            "Telemetry of hosts",
            "Frames by what became of them: kept in Redis, replaced by a newer one, refused, dropped.",
            "reqps",
            (
                Query(
                    f"sum by (outcome) ({rate('tightbeam_telemetry_frames_total')})", "{{outcome}}"
                ),
            ),
            width=6,
        ),
    ),
)
DRAINS: Final = Row(
    "Drains",
    (
        Panel(
            "Draining",
            "1 while a node sends its peers elsewhere.",
            "short",
            (Query(of("tightbeam_draining"), "{{instance}}"),),
            width=12,
        ),
        Panel(
            "Time left",
            "Until the drain should have ended; 0 where there is none, or where it is late.",
            "s",
            (
                Query(
                    f"clamp_min({of('tightbeam_drain_deadline_timestamp_seconds')} - time(), 0)",
                    "{{instance}}",
                ),
            ),
            width=12,
        ),
    ),
)
CAPACITY: Final = Row(
    "Capacity",
    (
        Panel(
            "CPU",
            "Of one core, which is all that a node's event loop can use.",
            "percentunit",
            (Query(rate("tightbeam_process_cpu_seconds_total"), "{{instance}}"),),
        ),
        Panel(
            "Memory",
            "Physical memory of a node.",
            "bytes",
            (
                Query(
                    of("tightbeam_process_resident_memory_bytes"),
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Descriptors",
            "Open ones, of those that a node may open; a WebSocket takes one.",
            "percentunit",
            (
                Query(
                    f"{of('tightbeam_process_open_fds')} / {of('tightbeam_process_max_fds')}",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
CLUSTER: Final = Dashboard(
    "cluster",
    "Tightbeam / Cluster",
    "The signaling nodes: what they carry, what they refuse, how quick they are, Redis, drains and capacity.",
    (NOW, RED, CONNECTIONS, REDIS, DRAINS, CAPACITY),
)
