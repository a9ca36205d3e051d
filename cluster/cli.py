"""The `tightbeam` command and its subcommands. Imports what a subcommand needs only when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points

from cluster import __version__

UP_HELP = """\
Share this machine's desktop in a browser. Starts an embedded Valkey, one signaling node that serves the
page, and the host agent; prints one link. Everything ends with this command, however it ends.

  tightbeam up                          http://127.0.0.1:8080, this display (or a private one)
  tightbeam up --host 192.168.1.5       reachable from the network, with TLS by an own CA
  tightbeam up --source testpattern     no display needed
"""
NODE_HELP = """\
Run one signaling node. Several nodes with the same REDIS_URL are one cluster; without REDIS_URL an embedded
Valkey is started, for this node only.

environment (a flag beats it):
  REDIS_URL                    redis://, rediss://, unix:// or redis+sentinel:// of the cluster's Redis or
                               Valkey; docs/redis.md has the whole syntax
  PORT                         the port (8080)
  TIGHTBEAM_SECRET             signs tokens; unset: made once and kept in Redis
  HEALTH_PORT                  /healthz, /readyz on this port too, /metrics on this one alone (none)
  TIGHTBEAM_MODE               as --mode
  ENABLE_AUTH                  true: a room of the plain dialect needs a token (false; --mode secure implies it)
  JWT_SECRET                   checks your own tokens: what you share with their issuer (at least 32 characters),
                               or its public key in PEM
  JWT_ALG                      HS256, ES256, EdDSA or RS256 (HS256)
  JWT_ISSUER, JWT_AUDIENCE     what iss and aud of your own tokens must be (anything)
  JWKS_URL                     their issuer's keys by https, instead of JWT_SECRET
  ROOMS_CLAIM                  the claim that names the rooms, as a list or one string (rooms)
  REQUIRE_WSS                  true: refuse WebSockets that did not come by TLS (false)
  SUBPROTOCOL                  that a client of the plain dialect must offer (none)
  TIGHTBEAM_ALLOWED_HOSTS      names under which browsers reach this node, by comma
  ALLOWED_ORIGINS              further origins whose pages may connect, by comma
  ROOM_CAPACITY                members of a room without a host (2)
  ROOM_TTL_SECONDS             3600; of a room's record in Redis, which is written again twelve times in that;
                               the same for all nodes
  MESSAGE_MAX_BYTES            of the plain dialect (262144)
  BACKPRESSURE_CLOSE_THRESHOLD_BYTES  that a client may leave unread (1048576)
  RATE_LIMIT_MESSAGES_PER_10S  per connection (200)
  RATE_LIMIT_IP_MSGS_PER_10S   per client address, on this node (400)
  RATE_LIMIT_ROOM_MSGS_PER_10S per room, on this node (800)
  RATE_LIMIT_CONN_PER_10S      joins per client address, on all nodes together; resumes are exempt (20)
  TIGHTBEAM_TRUSTED_PROXIES    addresses and networks by comma, whose X-Forwarded-For and X-Forwarded-Proto
                               are believed (none)
  HEARTBEAT_INTERVAL_MS        15000; a dead connection is found within two
  DRAIN_TIMEOUT_MS             60000; how long a drain (SIGTERM, `tightbeam drain`) takes at most
  SHUTDOWN_CLOSE_CODE          of plain sockets at the end of this node (1012)
  TIGHTBEAM_LOG_LEVEL          debug, info, warning or error (info)
  TIGHTBEAM_LOG_FORMAT         json or text; on a terminal always text (json)
  TURN_URLS                    stun:, turn: and turns: URLs for peers that have joined, by comma (none)
  TURN_SECRET                  coturn's static-auth-secret, at least 32 characters
"""
EXPORTER_HELP = """\
Show the fleet to Prometheus. Hosts say every two seconds how they are, and nodes keep that in Redis for twelve;
the exporter looks at all of it every five seconds and answers on its port:

  /metrics    hosts by state, sessions, and the figures of each host (docs/metrics.md lists them)
  /readyz     200 while what it shows is how the fleet is; else 503 and why, in words
  /healthz    200 while the process lives, with or without Redis

  tightbeam fleet-exporter --redis-url redis://10.0.0.1     http://127.0.0.1:8081/metrics

One exporter is enough for a cluster; a second one would show every host twice. It only reads (docs/redis.md has the
rule for a Redis user of its own) and never embeds a server. In Prometheus the job is called tightbeam-fleet-exporter.

environment (a flag beats it):
  REDIS_URL             redis://, rediss://, unix:// or redis+sentinel:// as the nodes' (docs/redis.md)
  PORT                  the port (8081)
  TIGHTBEAM_HOST        the address to listen on (127.0.0.1)
  TIGHTBEAM_ALLOWED_HOSTS  names, by comma, under which /metrics may be asked for; addresses always may
  TIGHTBEAM_LOG_LEVEL   debug, info, warning or error (info)
  TIGHTBEAM_LOG_FORMAT  json or text; on a terminal always text (json)
"""
CREDENTIAL_HELP = """\
Print a token. `host` is a JWT for `tightbeam-agent run` (a year); `player` and `viewer` are pairing tokens
(one use, 10 minutes) for the link /#room=R&token=T. Needs TIGHTBEAM_SECRET or REDIS_URL of the cluster, or
a running `tightbeam up` of this user.
"""
PAIR_HELP = """\
Print a fresh pairing link of the running `tightbeam up` of this user.
"""


DRAIN_HELP = """\
Empty one signaling node before it is stopped. Its peers are asked, spread over its DRAIN_TIMEOUT_MS, to connect
again; they keep their place in the room, and running video goes on. The node takes no new peers, answers 503
on /readyz, and its process ends when the last peer has gone. SIGTERM to the process does the same.

  tightbeam drain http://10.0.0.7:8080      the URL of the node itself, not of a load balancer before several

Needs TIGHTBEAM_SECRET or REDIS_URL of the cluster, or a running `tightbeam up` of this user. Asking again only
looks how far it is.

exit status: 0 no socket is left; 1 the node could not be asked, or refused; 3 sockets were left at the limit
"""


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, line: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=line,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N", help="port to listen on (8080)")
    parser.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (127.0.0.1: this machine only)"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--no-pairing",
        dest="pairing",
        action="store_const",
        const=False,
        help="whoever opens the page may join; on loopback only",
    )


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="tightbeam",
        description="Self-hosted cloud gaming and remote desktop in the browser.",
        epilog="Start with: tightbeam up",
    )
    root.add_argument("--version", action="version", version=f"tightbeam {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    up = _add_command(commands, "up", "share this desktop", UP_HELP)
    _add_listen(up)
    up.add_argument("--room", default="desk", help="name of the room (desk)")
    up.add_argument(
        "--source",
        choices=("x11", "testpattern", *sorted(entry_points(group="tightbeam.capture").names)),
        default="x11",
        help="the X display, a test picture with a tone, or another package's capture (x11)",
    )
    up.add_argument(
        "--size", metavar="WxH", help="of a private display or the test picture (1280x720)"
    )
    up.add_argument("--fps", type=int, default=60, metavar="N", help="frames a second (60)")
    up.add_argument("--bitrate", type=float, metavar="MBIT", help="highest video bitrate, Mbit/s")
    up.add_argument("--open", action="store_true", help="open the link in this machine's browser")

    node = _add_command(commands, "node", "run one signaling node", NODE_HELP)
    _add_listen(node)
    node.add_argument(
        "--mode",
        choices=("pure", "scalable", "secure"),
        help="rooms of the plain dialect: one for the whole node and two peers, by roomId, or by roomId"
        " with a token (scalable)",
    )
    node.add_argument("--redis-url", metavar="URL", help="the cluster's Redis or Valkey")

    exporter = _add_command(commands, "fleet-exporter", "show hosts to Prometheus", EXPORTER_HELP)
    exporter.add_argument("--port", type=int, metavar="N", help="port to listen on (8081)")
    exporter.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (127.0.0.1: this machine only)"
    )
    exporter.add_argument("--redis-url", metavar="URL", help="the cluster's Redis or Valkey")

    token = _add_command(commands, "token", "print a token", CREDENTIAL_HELP)
    token.add_argument("role", choices=("host", "player", "viewer"))
    token.add_argument("--room", required=True, help="the room that it is for")
    token.add_argument("--redis-url", metavar="URL", help="the cluster's Redis or Valkey")

    drain = _add_command(commands, "drain", "empty one node before it is stopped", DRAIN_HELP)
    drain.add_argument("url", metavar="URL", help="of the node, http or https")
    drain.add_argument("--json", action="store_true", help="one JSON object a line")
    drain.add_argument(
        "--timeout", type=float, metavar="S", help="give up watching (the node's window and 10 s)"
    )
    drain.add_argument("--ca-file", metavar="FILE", help="CA of the node's certificate, PEM")
    drain.add_argument("--redis-url", metavar="URL", help="the cluster's Redis or Valkey")

    pair = _add_command(commands, "pair", "print a fresh pairing link", PAIR_HELP)
    pair.add_argument("--role", choices=("player", "viewer"), default="player")
    return root


def _node(options: argparse.Namespace) -> int:
    import dataclasses  # noqa: PLC0415

    import uvloop  # noqa: PLC0415

    from cluster import app, logs, server, settings  # noqa: PLC0415
    from cluster.store.valkey import EmbeddedValkey  # noqa: PLC0415

    chosen = settings.load(options)
    logs.configure("text" if sys.stderr.isatty() else chosen.log_format, chosen.log_level)
    app.ignore_hangup()
    listener = server.listen(chosen)
    valkey: EmbeddedValkey | None = None
    alone = os.environ.get("TIGHTBEAM_SINGLE_NODE") == "1"
    if chosen.redis_url is None:
        print(
            "REDIS_URL is not set: starting an embedded Valkey. This is a single node only; nodes that"
            " shall work together need the same REDIS_URL.",
            file=sys.stderr,
        )
        valkey, alone = EmbeddedValkey(), True
        valkey.start()
        chosen = dataclasses.replace(chosen, redis_url=valkey.url)
    try:
        uvloop.run(app.serve(chosen, listener, alone=alone, valkey=valkey))
    finally:
        if valkey is not None:
            valkey.stop()
    return 0


def _exporter(options: argparse.Namespace) -> int:
    import uvloop  # noqa: PLC0415

    from cluster import logs, server, settings  # noqa: PLC0415
    from cluster.exporter import app  # noqa: PLC0415

    chosen = settings.load(options, app.environment())
    logs.configure("text" if sys.stderr.isatty() else chosen.log_format, chosen.log_level)
    with server.listen(chosen) as listener:
        uvloop.run(app.serve(chosen, listener))
    return 0


def _up(options: argparse.Namespace) -> int:
    from cluster.up.main import run  # noqa: PLC0415

    return run(options)


def _token(options: argparse.Namespace) -> int:
    from cluster.up.links import print_token  # noqa: PLC0415

    return print_token(options.role, options.room, options.redis_url)


def _drain(options: argparse.Namespace) -> int:
    from cluster.drain_request import Remote, run  # noqa: PLC0415
    from cluster.up.links import signing_secret  # noqa: PLC0415

    remote = Remote(options.url, signing_secret(options.redis_url), options.ca_file)
    return run(remote, options.timeout, as_json=options.json)


def _pair(options: argparse.Namespace) -> int:
    from cluster.up.links import print_link  # noqa: PLC0415

    return print_link(options.role)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; a refusal in words goes to stderr with exit status 1."""
    options = parser().parse_args(argv)
    commands = {
        "up": _up,
        "node": _node,
        "fleet-exporter": _exporter,
        "token": _token,
        "drain": _drain,
        "pair": _pair,
    }
    run = commands[options.command]
    try:
        status = run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"tightbeam {options.command}: {error}", file=sys.stderr)
        status = 1
    except ModuleNotFoundError as error:
        print(
            f"tightbeam {options.command}: {error.name} is not installed:"
            " pip install 'tightbeam[cluster]'",
            file=sys.stderr,
        )
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
