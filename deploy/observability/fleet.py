"""The dashboard *Fleet*: the hosts, what they do, how much they have left, and which are worst off."""

from __future__ import annotations

from typing import Final

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import fleet, mean

ONLINE: Final = 'state!="offline"'
OFFLINE: Final = 'state="offline"'
WORST: Final = 10


def _stat(title: str, description: str, unit: str, expr: str) -> Panel:
    return Panel(title, description, unit, (Query(expr, title),), "stat", 4)


def _worst(title: str, description: str, unit: str, expr: str) -> Panel:
    return Panel(title, description, unit, (Query(f"topk({WORST}, {expr})", "{{host}}"),), "table")


NOW: Final = Row(
    "Now",
    (
        _stat(
            "Hosts online",
            "Hosts that spoke within 12 seconds.",
            "short",
            f"sum({fleet('hosts', ONLINE)})",
        ),
        _stat(
            "Hosts offline",
            "Hosts that spoke within the last hour, and do not any more.",
            "short",
            f"sum({fleet('hosts', OFFLINE)})",
        ),
        _stat("Sessions", "Connected viewers.", "short", f"sum({fleet('sessions')})"),
        _stat(
            "Sent",
            "What all hosts send together.",
            "bps",
            f"sum({fleet('host_sent_bits_per_second')})",
        ),
        _stat(
            "Age of what is shown",
            "Since the exporter last looked at all hosts in Redis; it does so every five seconds.",
            "s",
            f"time() - max({fleet('last_look_timestamp_seconds')})",
        ),
        _stat(
            "Exporter sees Redis",
            "1 while the exporter is connected; else everything here is the past.",
            "short",
            f"min({fleet('redis_up')})",
        ),
    ),
)
STATES: Final = Row(
    "Hosts and sessions",
    (
        Panel(
            "Hosts by state",
            "failing: the agent lives, its media process does not.",
            "short",
            (Query(f"sum by (state) ({fleet('hosts')})", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            "Sessions by encoder",
            "The encoder and the codec that carry them.",
            "short",
            (Query(f"sum by (encoder, codec) ({fleet('sessions')})", "{{encoder}} {{codec}}"),),
            stacked=True,
        ),
        Panel(
            "Sessions by path",
            "direct, or relayed by TURN, which costs its traffic.",
            "short",
            (Query(f"sum by (path) ({fleet('sessions')})", "{{path}}"),),
            stacked=True,
        ),
        Panel(
            "Versions of agents",
            "The 16 most used; the rest is `other`.",
            "short",
            (Query(f"count by (version) ({fleet('host_info')})", "{{version}}"),),
            stacked=True,
        ),
        Panel(
            "Hosts gone and come back",
            "Changes of a host's being online, in ten minutes: a network that flaps shows here.",
            "short",
            (
                Query(
                    f"sum(changes({fleet('hosts', OFFLINE)}[10m]))",
                    "changes of the number of offline hosts",
                ),
            ),
        ),
        Panel(
            "A look at Redis",
            "How long the exporter takes for all hosts, the mean; above five seconds it falls behind.",
            "s",
            (
                Query(
                    mean("tightbeam_fleet_look_seconds"),
                    "look",
                ),
            ),
        ),
    ),
)
UTILISATION: Final = Row(
    "Utilisation",
    (
        Panel(
            "Processors of hosts",
            "Used share of all processors of a host.",
            "percentunit",
            (
                Query(f"avg({fleet('host_cpu_ratio')})", "mean"),
                Query(f"quantile(0.95, {fleet('host_cpu_ratio')})", "95th percentile of hosts"),
                Query(f"max({fleet('host_cpu_ratio')})", "busiest host"),
            ),
        ),
        Panel(
            "Graphics cards of hosts",
            "Used share of the card, and of its encoder, where it is NVIDIA's.",
            "percentunit",
            (
                Query(f"avg({fleet('host_gpu_ratio')})", "card, mean"),
                Query(f"max({fleet('host_gpu_ratio')})", "card, busiest host"),
                Query(f"avg({fleet('host_gpu_encoder_ratio')})", "encoder, mean"),
                Query(f"max({fleet('host_gpu_encoder_ratio')})", "encoder, busiest host"),
            ),
        ),
        Panel(
            "Sessions on a host",
            "Over the hosts that are online.",
            "short",
            (
                Query(f"avg({fleet('host_sessions')})", "mean"),
                Query(f"max({fleet('host_sessions')})", "most"),
            ),
        ),
        Panel(
            "Bitrate of a host",
            "Over the hosts that have sessions, all sessions of a host together.",
            "bps",
            (
                Query(f"avg({fleet('host_sent_bits_per_second')})", "sent, mean"),
                Query(f"max({fleet('host_sent_bits_per_second')})", "sent, most"),
                Query(f"avg({fleet('host_target_bits_per_second')})", "target, mean"),
            ),
        ),
    ),
)
WORST_HOSTS: Final = Row(
    "Worst hosts",
    (
        _worst("Busiest processors", "Used share of all.", "percentunit", fleet("host_cpu_ratio")),
        _worst(
            "Slowest pictures",
            "All stages of the host together, of its slowest session.",
            "s",
            f"sum by (host) ({fleet('host_stage_seconds')})",
        ),
        _worst("Longest round trips", "Of its worst session.", "s", fleet("host_rtt_seconds")),
        _worst(
            "Most loss",
            "Share of packets, of its worst session.",
            "percentunit",
            fleet("host_loss_ratio"),
        ),
        _worst(
            "Most impaired sessions",
            "Degraded or failed, of those that it has.",
            "short",
            fleet("host_sessions_impaired"),
        ),
        _worst(
            "Longest silent",
            "Since a host's newest telemetry was found; offline ones are forgotten after an hour.",
            "s",
            f"time() - {fleet('host_last_seen_timestamp_seconds')}",
        ),
    ),
)
FLEET: Final = Dashboard(
    "fleet",
    "Tightbeam / Fleet",
    "The hosts: their states, what they carry, how much they have left, and which are worst off.",
    (NOW, STATES, UTILISATION, WORST_HOSTS),
)
