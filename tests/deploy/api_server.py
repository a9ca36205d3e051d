"""As much of an API server as the documentation's `kubectl` commands need, made for tests: it is not a Kubernetes API.

It answers discovery, keeps objects in memory, and refuses what the published schemas refuse (strict: an unknown
field is an error). It has no defaults, no admission and no controllers: what is in a namespace outlives it.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import kubernetes_validate

KINDS: Final = {  # apiVersion: plural: kind, and whether it lives in a namespace
    "v1": {
        "namespaces": ("Namespace", False),
        "nodes": ("Node", False),
        "configmaps": ("ConfigMap", True),
        "secrets": ("Secret", True),
        "serviceaccounts": ("ServiceAccount", True),
        "services": ("Service", True),
    },
    "apps/v1": {
        "deployments": ("Deployment", True),
        "statefulsets": ("StatefulSet", True),
        "daemonsets": ("DaemonSet", True),
    },
    "autoscaling/v2": {"horizontalpodautoscalers": ("HorizontalPodAutoscaler", True)},
    "policy/v1": {"poddisruptionbudgets": ("PodDisruptionBudget", True)},
    "networking.k8s.io/v1": {
        "networkpolicies": ("NetworkPolicy", True),
        "ingresses": ("Ingress", True),
    },
    "gateway.networking.k8s.io/v1": {
        "gateways": ("Gateway", True),
        "httproutes": ("HTTPRoute", True),
    },
    "monitoring.coreos.com/v1": {
        "podmonitors": ("PodMonitor", True),
        "prometheusrules": ("PrometheusRule", True),
    },
}
VERBS: Final = ["get", "list", "create", "patch", "delete"]
SCALE: Final = {
    "name": "deployments/scale",
    "kind": "Scale",
    "group": "autoscaling",
    "version": "v1",
    "namespaced": True,
    "verbs": ["get", "patch"],
}
CUSTOM: Final = ("gateway.networking.k8s.io", "monitoring.coreos.com")
"""Groups of custom resources: `make check-k8s` holds them against their own schemas."""

MAX_ANNOTATIONS_BYTES: Final = 1 << 18
"""Kubernetes' TotalAnnotationSizeLimitB; kubectl keeps in one of them the whole of what it applied."""


class Refused(Exception):
    """An answer of status `code`."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class ApiServer(ThreadingHTTPServer):
    """`objects` by path, as they were written."""

    daemon_threads = True

    def __init__(self, version: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.version = version
        self.objects: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, method: str) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        path, _, query = self.path.partition("?")
        try:
            code, answer = 200, self._discover(path)
            if answer is None:
                code, answer = self._objects(method, path, query, body)
        except Refused as refused:
            code = refused.code
            answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
            answer |= {"reason": refused.reason, "message": str(refused)}
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _discover(self, path: str) -> dict[str, Any] | None:
        if path == "/version":
            major, minor = self.server.version.split(".")
            return {"major": major, "minor": minor, "gitVersion": f"v{self.server.version}.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [
                {
                    "name": version.partition("/")[0],
                    "versions": [{"groupVersion": version, "version": version.partition("/")[2]}],
                }
                for version in KINDS
                if "/" in version
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if path == "/openapi/v3":
            return {
                "paths": {
                    _prefix(each)[1:]: {"serverRelativeURL": f"/openapi/v3{_prefix(each)}"}
                    for each in KINDS
                }
            }
        if path.startswith("/openapi/v3/"):
            return _openapi(path.removeprefix("/openapi/v3"))
        for version, kinds in KINDS.items():
            if path == _prefix(version):
                resources = [
                    {"name": plural, "kind": kind, "namespaced": inside, "verbs": VERBS}
                    for plural, (kind, inside) in kinds.items()
                ]
                resources += [SCALE] if "deployments" in kinds else []
                return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        return None

    def _objects(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        kept = self.server.objects
        space = re.search(r"/namespaces/([^/]+)/", path)
        if method == "GET" and _is_collection(path):
            return 200, _listed(kept, path, query)
        scale = path.endswith("/scale")
        path = path.removesuffix("/scale")
        if method != "POST" and path not in kept:
            raise Refused(404, "NotFound", f"{path} is not there")
        if method == "GET":
            return 200, _scale(kept[path]) if scale else kept[path]
        if method == "DELETE":
            return 200, kept.pop(path)
        by_hand = method == "PATCH" and "fieldManager=kubectl-client-side-apply" not in query
        if "fieldValidation=Strict" not in query and not by_hand:
            raise Refused(400, "BadRequest", f"{method} {path}?{query}: expected strict fields")
        if method == "PATCH":
            strategic = "strategic" in self.headers["Content-Type"]
            body = _merged(kept[path], body, by_name=strategic)
            path = path.rpartition("/")[0]
        elif f"{path}/{body['metadata']['name']}" in kept:
            raise Refused(409, "AlreadyExists", f"{path}/{body['metadata']['name']} is there")
        if space is not None and f"/api/v1/namespaces/{space[1]}" not in kept:
            raise Refused(404, "NotFound", f"no namespace {space[1]}")
        annotations = body["metadata"].get("annotations", {})
        if sum(map(len, [*annotations, *annotations.values()])) > MAX_ANNOTATIONS_BYTES:
            raise Refused(422, "Invalid", "metadata.annotations: Too long")
        if body["apiVersion"].split("/")[0] not in CUSTOM:
            try:
                kubernetes_validate.validate(body, self.server.version, strict=True)
            except kubernetes_validate.ValidationError as error:
                raise Refused(422, "Invalid", error.message) from None
        kept[f"{path}/{body['metadata']['name']}"] = body
        return 201 if method == "POST" else 200, _scale(body) if scale else body


def _is_collection(path: str) -> bool:
    return any(path.endswith(f"/{plural}") for kinds in KINDS.values() for plural in kinds)


def _listed(kept: dict[str, Any], path: str, query: str) -> dict[str, Any]:
    wanted = re.search(r"fieldSelector=metadata\.name%3D([\w.-]+)", query)
    below = rf"{re.escape(path)}/{re.escape(wanted[1]) if wanted else '[^/]+'}"
    items = [thing for at, thing in kept.items() if re.fullmatch(below, at)]
    return {
        "kind": "List",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": items,
    }


def _scale(deployment: Any) -> dict[str, Any]:
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace")}
    spec = {"replicas": deployment["spec"].get("replicas", 1)}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec}


def _merged(there: Any, patch: Any, *, by_name: bool) -> Any:
    """RFC 7396; or a strategic merge, as far as lists go by name."""
    if by_name and isinstance(patch, list) and all("name" in each for each in patch):
        kept = {each["name"]: each for each in there or ()}
        for each in patch:
            if each.get("$patch") == "delete":
                kept.pop(each["name"], None)
            else:
                kept[each["name"]] = _merged(kept.get(each["name"]), each, by_name=True)
        return list(kept.values())
    if not isinstance(patch, dict):
        return patch
    merged = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):  # the order of a list, which nothing here depends on
            continue
        merged[key] = _merged(merged.get(key), value, by_name=by_name)
        if value is None:
            del merged[key]
    return merged


def _prefix(version: str) -> str:
    return f"/api/{version}" if version == "v1" else f"/apis/{version}"


def _openapi(prefix: str) -> dict[str, Any]:
    """That this server validates fields; kubectl asks for nothing else in it."""
    field = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {}
    for version, kinds in KINDS.items():
        if _prefix(version) != prefix:
            continue
        group, _, number = version.rpartition("/")
        for plural, (kind, _) in kinds.items():
            of = {"group": group, "version": number, "kind": kind}
            paths[f"{prefix}/{plural}/{{name}}"] = {
                "patch": {"parameters": [field], "x-kubernetes-group-version-kind": of}
            }
    return {"openapi": "3.0.0", "info": {"title": "test", "version": "0"}, "paths": paths}


@contextlib.contextmanager
def api_server(version: str) -> Iterator[ApiServer]:
    server = ApiServer(version)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
