"""The dashboard *Session quality*: how well sessions are and why not, from a click on the way to a picture back."""

from __future__ import annotations

from typing import Final

from deploy.observability.panels import Dashboard, Panel, Query, Row
from deploy.observability.promql import fleet, quantile, rate

IMPAIRED: Final = 'verdict!="healthy"'
STAGE: Final = "tightbeam_fleet_stage_seconds"
ROUND_TRIP: Final = "tightbeam_fleet_rtt_seconds"
LEG: Final = "tightbeam_fleet_leg_seconds"
WHOLE: Final = 'leg=~"click_to_photon|capture_to_photon"'
PART: Final = 'leg!~"click_to_photon|capture_to_photon"'


def _over_hosts(name: str, words: str = "") -> tuple[Query, ...]:
    worst, mean = f"{words}worst host", f"{words}mean of hosts"
    return (Query(f"max({fleet(name)})", worst), Query(f"avg({fleet(name)})", mean))


def _share(verdict: str) -> str:
    some = fleet("sessions_by_verdict", f'verdict="{verdict}"')
    return f"sum({some}) / clamp_min(sum({fleet('sessions_by_verdict')}), 1)"


VERDICT: Final = Row(
    "Verdict",
    (
        Panel(
            "Healthy",
            "Share of sessions none of whose figures is past its limit; docs/metrics.md has the limits.",
            "percentunit",
            (Query(_share("healthy"), "healthy"),),
            "stat",
            6,
        ),
        Panel(
            "Degraded",
            "One can feel it.",
            "percentunit",
            (Query(_share("degraded"), "degraded"),),
            "stat",
            6,
        ),
        Panel(
            "Failed", "Of no use.", "percentunit", (Query(_share("failed"), "failed"),), "stat", 6
        ),
        Panel(
            "Sessions",
            "All that are judged.",
            "short",
            (Query(f"sum({fleet('sessions_by_verdict')})", "sessions"),),
            "stat",
            6,
        ),
        Panel(
            "Sessions by verdict",
            "By the worst figure of each.",
            "short",
            (Query(f"sum by (verdict) ({fleet('sessions_by_verdict')})", "{{verdict}}"),),
            width=12,
            stacked=True,
        ),
        Panel(
            "Reasons",
            "Why sessions are degraded or failed: the figure that is furthest past its limit.",
            "short",
            (
                Query(
                    f"sum by (reason) ({fleet('sessions_by_verdict', IMPAIRED)})",
                    "{{reason}}",
                ),
            ),
            width=12,
            stacked=True,
        ),
    ),
)
LEGS: Final = Row(
    "From click to photon",
    (
        Panel(
            "To photon, median",
            "What viewers' pages measured: from an input to the first picture captured after it, where somebody"
            " clicks, and from the capture to the screen.",
            "s",
            (Query(quantile(0.5, LEG, ", leg", WHOLE), "{{leg}}"),),
            width=12,
        ),
        Panel(
            "To photon, 95th percentile",
            "The same for the slower sessions.",
            "s",
            (Query(quantile(0.95, LEG, ", leg", WHOLE), "{{leg}}"),),
            width=12,
        ),
        Panel(
            "Legs, median",
            "The stages of the host, and the legs that viewers' pages measured around them: input and inject where"
            " somebody clicks, network, buffer, decode and display of all pictures.",
            "s",
            (
                Query(quantile(0.5, STAGE, ", stage"), "{{stage}}"),
                Query(quantile(0.5, LEG, ", leg", PART), "{{leg}}"),
            ),
            width=12,
            stacked=True,
        ),
        Panel(
            "Legs, 95th percentile",
            "The same for the slower sessions; percentiles do not add up to one of the whole.",
            "s",
            (
                Query(quantile(0.95, STAGE, ", stage"), "{{stage}}"),
                Query(quantile(0.95, LEG, ", leg", PART), "{{leg}}"),
            ),
            width=12,
        ),
        Panel(
            "Encode, 95th percentile",
            "By encoder and codec.",
            "s",
            (
                Query(
                    quantile(0.95, STAGE, ", encoder, codec", 'stage="encode"'),
                    "{{encoder}} {{codec}}",
                ),
            ),
        ),
        Panel(
            "Round trip, 95th percentile",
            "Direct, or by a relay.",
            "s",
            (Query(quantile(0.95, ROUND_TRIP, ", path"), "{{path}}"),),
        ),
        Panel(
            "Host stages together",
            "All stages of the slowest session of a host.",
            "s",
            (
                Query(f"max(sum by (host) ({fleet('host_stage_seconds')}))", "worst host"),
                Query(f"avg(sum by (host) ({fleet('host_stage_seconds')}))", "mean of hosts"),
            ),
        ),
    ),
)
NETWORK: Final = Row(
    "Network",
    (
        Panel(
            "Loss",
            "Share of packets, of the worst session of each host.",
            "percentunit",
            _over_hosts("host_loss_ratio"),
            width=12,
        ),
        Panel(
            "Packets",
            "sent: all of them; of these parity, sent ahead of a loss, and repeated, on request. refused: asked for"
            " again, and not sent.",
            "reqps",
            (Query(f"sum by (kind) ({rate('tightbeam_fleet_packets_total')})", "{{kind}}"),),
            width=12,
        ),
        Panel(
            "Jitter",
            "Interarrival jitter, of the worst session of each host.",
            "s",
            _over_hosts("host_jitter_seconds"),
            width=12,
        ),
        Panel(
            "Congestion",
            "What the rates of sessions do.",
            "short",
            (Query(f"sum by (congestion) ({fleet('sessions_by_congestion')})", "{{congestion}}"),),
            width=12,
            stacked=True,
        ),
    ),
)
PICTURE: Final = Row(
    "Picture",
    (
        Panel(
            "Pictures a second",
            "Of the slowest session of each host. A still screen has none, so a low number alone is no fault.",
            "short",
            (
                Query(f"avg({fleet('host_capture_fps')})", "captured, mean of hosts"),
                Query(f"avg({fleet('host_encode_fps')})", "encoded, mean of hosts"),
                Query(f"min({fleet('host_encode_fps')})", "encoded, worst host"),
            ),
        ),
        Panel(
            "Freezes",
            "Since the sessions of a host began, as their browsers count them.",
            "short",
            (
                Query(f"max({fleet('host_freezes')})", "worst host"),
                Query(f"sum({fleet('host_freezes')})", "all hosts"),
            ),
        ),
        Panel(
            "Pictures not sent",
            "replaced: a newer one took its place before it was encoded. paced: the path was full.",
            "reqps",
            (
                Query(
                    f"sum by (reason) ({rate('tightbeam_fleet_frames_dropped_total')})",
                    "{{reason}}",
                ),
            ),
        ),
        Panel(
            "Bitrate of a host",
            "What it may send and what it sends; a picture that is cheap to encode stays below.",
            "bps",
            (
                Query(f"avg({fleet('host_target_bits_per_second')})", "target, mean of hosts"),
                Query(f"avg({fleet('host_sent_bits_per_second')})", "sent, mean of hosts"),
            ),
        ),
    ),
)
SESSION_QUALITY: Final = Dashboard(
    "session-quality",
    "Tightbeam / Session quality",
    "How well sessions are, and the reason where they are not.",
    (VERDICT, LEGS, NETWORK, PICTURE),
)
