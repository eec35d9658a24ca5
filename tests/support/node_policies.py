"""What z2jh's chart says of who may reach whom, with what our values add: for tests, in its place."""

from collections.abc import Iterator
from typing import Any

RELEASE = "nexus"
LABEL = "hub.jupyter.org/network-access"
NAMES = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
METADATA = "169.254.169.254/32"


def stand_in_policies(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the policies of hub, proxy and people's servers."""
    outside = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [*PRIVATE, METADATA]}}]}
    anywhere = {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA]}}]}
    yield policy(
        "hub",
        [reached_by("hub", 8081), *values["hub"]["networkPolicy"]["ingress"]],
        [NAMES, anywhere],
    )
    yield policy(
        "proxy",
        [{"ports": [{"port": 8000}]}, reached_by("proxy-api", 8001)],
        [NAMES, anywhere],
    )
    yield policy(
        "singleuser-server",
        [reached_by("singleuser", 8888)],
        [
            {"to": [of("hub")], "ports": [{"port": 8081}]},
            {"to": [of("proxy")], "ports": [{"port": 8000}]},
            NAMES,
            outside,
            *values["singleuser"]["networkPolicy"]["egress"],
        ],
    )


def policy(component: str, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": component},
        "spec": {
            "podSelector": of(component)["podSelector"],
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def of(component: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": "jupyterhub", "component": component}}}


def reached_by(what: str, port: int) -> dict[str, Any]:
    """Return the rule for pods that say by a label that they need this."""
    return {
        "from": [{"podSelector": {"matchLabels": {f"{LABEL}-{what}": "true"}}}],
        "ports": [{"port": port}],
    }
