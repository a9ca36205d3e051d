"""The fleet in the Prometheus text format.

Written here, not by the client library: 10,000 hosts are 200,000 lines, for which that takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from cluster.exporter.fleet import Fleet, Histogram, Host
from cluster.protocol.telemetry import CONGESTION, DROPS, STAGES, SessionFigures

HostValue = Callable[[Host], float | None]
SessionValue = Callable[[SessionFigures], float | None]


def _best(select: Callable[[list[float]], float], value: SessionValue) -> HostValue:
    """One figure of the sessions that know it."""

    def of(host: Host) -> float | None:
        known = [found for s in host.telemetry.sessions if (found := value(s)) is not None]
        return select(known) if known else None

    return of


# Of hosts that are online, with nothing but the host for a label: name, what it says, where it is.
HOST_GAUGES: Final[tuple[tuple[str, str, HostValue], ...]] = (
    ("uptime_seconds", "Since the agent began.", lambda host: host.telemetry.uptime_s),
    ("sessions", "Connected viewers.", lambda host: len(host.telemetry.sessions)),
    (
        "sessions_impaired",
        "Sessions that are degraded or failed.",
        lambda host: sum(verdict.name != "healthy" for verdict in host.verdicts),
    ),
    ("cpu_ratio", "Used share of all processors.", lambda host: host.telemetry.cpu),
    ("gpu_ratio", "Used share of the GPU.", lambda host: host.telemetry.gpu),
    (
        "gpu_encoder_ratio",
        "Used share of the GPU's encoder.",
        lambda host: host.telemetry.gpu_encoder,
    ),
    (
        "capture_fps",
        "Pictures captured a second; the least of its sessions.",
        _best(min, lambda session: session.capture_fps),
    ),
    (
        "encode_fps",
        "Pictures encoded a second; the least of its sessions.",
        _best(min, lambda session: session.encode_fps),
    ),
    (
        "target_bits_per_second",
        "What the paths of its sessions carry together.",
        _best(sum, lambda session: session.target_bps),
    ),
    (
        "sent_bits_per_second",
        "What its sessions send together.",
        _best(sum, lambda session: session.sent_bps),
    ),
    (
        "rtt_seconds",
        "Round trip of the worst session.",
        _best(max, lambda session: session.rtt_s),
    ),
    (
        "jitter_seconds",
        "Interarrival jitter (RFC 3550 6.4.1) of the worst session.",
        _best(max, lambda session: session.jitter_s),
    ),
    (
        "loss_ratio",
        "Share of packets lost, of the worst session.",
        _best(max, lambda session: session.loss),
    ),
    (
        "click_to_photon_seconds",
        "Median of the worst session, from an input to the first picture after it.",
        _best(max, lambda session: (session.legs_s or {}).get("click_to_photon")),
    ),
    (
        "freezes",
        "Freezes since its sessions began.",
        _best(sum, lambda session: session.freezes),
    ),
)
PREFIX: Final = "tightbeam_fleet_host_"


def _number(value: float) -> str:
    return repr(float(value)) if value % 1 else str(int(value))


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _hosts(fleet: Fleet) -> Iterator[str]:
    """Every host that is known, offline or not."""
    yield _head(f"{PREFIX}info", "gauge", "1; `version` is of its agent.")
    for name, host in fleet.hosts.items():
        yield f'{PREFIX}info{{host="{name}",version="{fleet.version(host)}"}} 1\n'
    yield _head(f"{PREFIX}state", "gauge", "1 for the state that the host is in.")
    for name, host in fleet.hosts.items():
        yield f'{PREFIX}state{{host="{name}",state="{host.state}"}} 1\n'
    metric = f"{PREFIX}last_seen_timestamp_seconds"
    yield _head(metric, "gauge", "When its newest telemetry was found.")
    for name, host in fleet.hosts.items():
        yield f'{metric}{{host="{name}"}} {host.seen_at:.3f}\n'


def _figures(fleet: Fleet) -> Iterator[str]:
    """The figures of the hosts that are online."""
    online = [(name, host) for name, host in fleet.hosts.items() if host.online]
    for suffix, text, value in HOST_GAUGES:
        yield _head(PREFIX + suffix, "gauge", text)
        for name, host in online:
            if (found := value(host)) is not None:
                yield f'{PREFIX}{suffix}{{host="{name}"}} {_number(found)}\n'
    watched = [(name, host.telemetry.sessions) for name, host in online if host.telemetry.sessions]
    yield _head(f"{PREFIX}stage_seconds", "gauge", "Median of a stage, of the slowest session.")
    for name, sessions in watched:
        for stage in STAGES:
            known = [session.stages_s[stage] for session in sessions if stage in session.stages_s]
            if known:
                yield (
                    f'{PREFIX}stage_seconds{{host="{name}",stage="{stage}"}} {_number(max(known))}\n'
                )
    metric = f"{PREFIX}frames_dropped"
    yield _head(metric, "gauge", "Captured pictures not sent since its sessions began.")
    for name, sessions in watched:
        for reason in DROPS:
            known = [session.dropped[reason] for session in sessions if reason in session.dropped]
            if known:
                yield f'{metric}{{host="{name}",reason="{reason}"}} {sum(known)}\n'


def _totals(fleet: Fleet) -> Iterator[str]:
    totals = fleet.totals
    yield _head("tightbeam_fleet_hosts", "gauge", "Hosts by state.")
    for state, count in totals.hosts.items() if fleet.seen else ():
        yield f'tightbeam_fleet_hosts{{state="{state}"}} {count}\n'
    yield _head("tightbeam_fleet_sessions", "gauge", "Sessions by what carries them.")
    for (codec, encoder, path), count in totals.sessions.items():
        labels = f'codec="{codec}",encoder="{encoder}",path="{path}"'
        yield f"tightbeam_fleet_sessions{{{labels}}} {count}\n"
    metric = "tightbeam_fleet_sessions_by_congestion"
    yield _head(metric, "gauge", "Sessions by what their rate does.")
    for way in CONGESTION:
        yield f'{metric}{{congestion="{way}"}} {totals.congestion[way]}\n'
    metric = "tightbeam_fleet_sessions_by_verdict"
    yield _head(metric, "gauge", "Sessions by how well they are, and why.")
    for verdict, count in totals.verdicts.items():
        labels = f'verdict="{verdict.name}",reason="{verdict.reason}"'
        yield f"{metric}{{{labels}}} {count}\n"
    metric = "tightbeam_fleet_hosts_left_out"
    yield _head(metric, "gauge", "Hosts in Redis beyond what this exporter shows.")
    yield f"{metric} {fleet.left_out}\n"
    metric = "tightbeam_fleet_telemetry_total"
    yield _head(metric, "counter", "Frames of telemetry that were found in Redis.")
    for outcome, count in fleet.frames.items():
        yield f'{metric}{{outcome="{outcome}"}} {count}\n'
    metric = "tightbeam_fleet_frames_dropped_total"
    yield _head(metric, "counter", "Captured pictures of all hosts that were not sent.")
    for reason, count in fleet.dropped.items():
        yield f'{metric}{{reason="{reason}"}} {count}\n'
    metric = "tightbeam_fleet_packets_total"
    yield _head(metric, "counter", "Packets of all hosts: sent, parity, sent again, refused to.")
    for kind, count in fleet.packets.items():
        yield f'{metric}{{kind="{kind}"}} {count}\n'


def _histogram(name: str, text: str, labels: tuple[str, ...], rows: Histogram) -> Iterator[str]:
    yield _head(name, "histogram", text)
    for values, buckets, total in rows.buckets():
        own = ",".join(f'{key}="{value}"' for key, value in zip(labels, values, strict=True))
        for bound, count in buckets:
            yield f'{name}_bucket{{{own},le="{bound}"}} {_number(count)}\n'
        yield f"{name}_sum{{{own}}} {total!r}\n"
        yield f"{name}_count{{{own}}} {_number(buckets[-1][1])}\n"


def exposition(fleet: Fleet) -> bytes:
    """All of the fleet; names of hosts need no escapes, as they are names of rooms."""
    lines = [*_totals(fleet), *_hosts(fleet), *_figures(fleet)]
    lines += _histogram(
        "tightbeam_fleet_stage_seconds",
        "Medians of a stage in two seconds of a session.",
        ("stage", "encoder", "codec"),
        fleet.stages,
    )
    lines += _histogram(
        "tightbeam_fleet_rtt_seconds",
        "Round trips of sessions, every two seconds.",
        ("path",),
        fleet.round_trips,
    )
    lines += _histogram(
        "tightbeam_fleet_leg_seconds",
        "Medians of a leg in two seconds of a session, as the viewer's page measured it.",
        ("leg", "path"),
        fleet.legs,
    )
    return "".join(lines).encode("ascii")
