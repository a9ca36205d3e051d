"""What manifests name exists in the code: ports, probes, settings, commands, metrics, rules of other documents."""

from __future__ import annotations

import json
import re

import pytest
from starlette.routing import Route

from cluster import cli, metrics, settings
from cluster.app import Service
from cluster.redis_url import RedisUrl
from tests.deploy import manifests
from tests.deploy.manifests import COMPONENTS, K8S, OVERLAYS, ROOT, WORKLOADS, Object, name_of
from tests.deploy.pods import SECRETS

HELPERS = {"VALKEY_PASSWORD", "EXPORTER_PASSWORD", "SENTINEL_PASSWORD"}
"""Variables that are there for others of the same container to name."""
RENDERINGS = [f"overlays/{name}" for name in OVERLAYS] + [
    f"components/{name}" for name in COMPONENTS
]


@pytest.fixture(params=RENDERINGS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    kind, _, name = request.param.partition("/")
    return manifests.overlay(name) if kind == "overlays" else manifests.component(name)


def ours(objects: list[Object]) -> list[tuple[Object, Object]]:
    """The pod specs and containers of our own image."""
    return [
        (template["spec"], container)
        for _, template in manifests.pods(objects)
        for container in manifests.containers(template)
        if re.search(r"(^|/)tightbeam:", container["image"])
    ]


def test_a_node_reads_every_setting_that_it_is_given(objects: list[Object]) -> None:
    known = {name for row in settings.ROWS for name in row.names}
    for _, container in ours(objects):
        given = manifests.environment(container, objects, SECRETS)
        assert given.keys() - HELPERS <= known
        assert not [value for value in given.values() if "$(" in value]
        if container["args"] == ["node"] and "REDIS_URL" in given:
            loaded = settings.load(None, given)
            assert loaded.redis_url is not None
            RedisUrl.parse(loaded.redis_url)
            assert not loaded.loopback


def test_every_command_is_one_of_the_program(objects: list[Object]) -> None:
    for _, container in ours(objects):
        assert "command" not in container  # the image's entry point is the program
        cli.parser().parse_args(container["args"])


def test_ports_are_those_that_a_node_listens_on(objects: list[Object]) -> None:
    for _, container in ours(objects):
        if container["args"] != ["node"]:
            continue
        given = manifests.environment(container, objects, SECRETS)
        ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
        assert ports == {"http": given["PORT"], "health": given["HEALTH_PORT"]}


def test_every_probe_is_a_route_of_its_port(objects: list[Object]) -> None:
    service = Service(settings.Settings(redis_url="redis://127.0.0.1"))
    routes = {route.path for route in service._health_routes() if isinstance(route, Route)}
    for _, container in ours(objects):
        if container["args"] != ["node"]:
            continue
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == "health"
            assert asked["path"].partition("?")[0] in routes


def test_a_node_has_time_to_drain(objects: list[Object]) -> None:
    for pod, container in ours(objects):
        if container["args"] != ["node"]:
            continue
        given = manifests.environment(container, objects, SECRETS)
        drain_s = int(given["DRAIN_TIMEOUT_MS"]) / 1000
        pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert pause_s + drain_s + 10 <= pod["terminationGracePeriodSeconds"]


def test_named_ports_exist(objects: list[Object]) -> None:
    pods = [template for _, template in manifests.pods(objects)]

    def ports(selector: Object) -> set[str]:
        chosen = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        assert chosen, selector
        return {
            port["name"]
            for pod in chosen
            for container in manifests.containers(pod)
            for port in container.get("ports", [])
        }

    for thing in objects:
        spec = thing.get("spec", {})
        named: set[str] = set()
        if thing["kind"] == "Service":
            named = {port["targetPort"] for port in spec["ports"]}
            selector = spec["selector"]
        elif thing["kind"] == "NetworkPolicy" and spec["podSelector"]:
            selector = spec["podSelector"]["matchLabels"]
            rules = spec.get("ingress", [])
            named = {port["port"] for rule in rules for port in rule.get("ports", [])}
            named = {port for port in named if isinstance(port, str)}
        elif thing["kind"] == "PodMonitor":
            selector = spec["selector"]["matchLabels"]
            named = {each["port"] for each in spec["podMetricsEndpoints"]}
        elif thing["kind"] in WORKLOADS:
            for container in manifests.containers(spec["template"]):
                mine = {port["name"] for port in container.get("ports", [])}
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    asked = container.get(probe, {})
                    asked = asked.get("httpGet") or asked.get("tcpSocket") or {}
                    assert asked.get("port") in {None, *mine}, name_of(thing)
            continue
        else:
            continue
        assert named <= ports(selector), name_of(thing)


def test_metrics_in_manifests_are_measured(objects: list[Object]) -> None:
    """Alerts and dashboards have tests of their own that know the exporter's, too."""
    known = set(re.findall(r"^# TYPE (\w+)", metrics.exposition().decode(), re.MULTILINE))
    text = json.dumps([each for each in objects if each["kind"] == "HorizontalPodAutoscaler"])
    for name in set(re.findall(r"\btightbeam_[a-z_]+\b", text)):
        assert name in known, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_program_of_an_overlay_knows_its_redis(overlay: str) -> None:
    objects = manifests.overlay(overlay)
    for _, container in ours(objects):
        RedisUrl.parse(manifests.environment(container, objects, SECRETS)["REDIS_URL"])


@pytest.mark.parametrize("component", ["valkey", "valkey-sentinel"])
def test_the_access_rules_of_valkey_are_the_documented_ones(component: str) -> None:
    rules = re.findall(
        r"^user (\S+) on >PASSWORD (.*)$", (ROOT / "docs/redis.md").read_text(), re.MULTILINE
    )
    start = (K8S / "components" / component / "start.sh").read_text()
    assert dict(rules).keys() == {"tightbeam", "tightbeam-exporter"}
    for user, rule in rules:
        assert re.search(rf"^user {user} on >\$\w+ {re.escape(rule)}$", start, re.MULTILINE), user


@pytest.mark.parametrize("name", ["Containerfile", "loadtests/Containerfile"])
def test_what_a_containerfile_copies_is_not_left_out_of_its_context(name: str) -> None:
    """docker and podman both read `.dockerignore`; the load tests' lock was not in it."""
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / name).read_text(), re.MULTILINE)
    assert len(copied) == 2
    for source in copied:
        assert f"!{source}" in lines
        assert source.startswith("dist/") or (ROOT / source).is_file()


def test_coturn_is_configured_as_documented() -> None:
    block = re.search(
        r"```\n(use-auth-secret\n.*?)```", (ROOT / "docs/turn.md").read_text(), re.DOTALL
    )
    assert block is not None
    lines = (K8S / "components/coturn/turnserver.conf").read_text().splitlines()
    for line in block[1].splitlines():
        assert line in lines or line.startswith("static-auth-secret="), line


def test_prometheus_calls_the_jobs_as_the_alerts_do() -> None:
    alerts = (ROOT / "deploy/observability/rules.yml").read_text()
    jobs = {
        relabeling["replacement"]
        for thing in manifests.overlay("prod")
        if thing["kind"] == "PodMonitor"
        for endpoint in thing["spec"]["podMetricsEndpoints"]
        for relabeling in endpoint["relabelings"]
    }
    assert set(re.findall(r'job="([^"]+)"', alerts)) == jobs
