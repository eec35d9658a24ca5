"""The hub's configuration in a cluster: on top of what z2jh sets, and told what it lacks."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.helm import merged
from traitlets import import_item
from traitlets.config import Config

from nexus_allocator.gateway.kubernetes import AdmittedKubeBackend
from nexus_allocator.hub.cluster_config import CULLER, SECRETS, BadClusterValues, configure_in_cluster
from nexus_allocator.hub.config import PERSON_SCOPES
from nexus_allocator.hub.kube_spawner import KubernetesSpawner

ENVIRONMENT = {name: f"secret-of-{name.lower()}" for name in SECRETS}


def configured(environment: str, *, services: Sequence[dict[str, Any]] = ()) -> Config:
    """Run the values' own ``extraConfig`` as z2jh does, after what z2jh sets."""
    values = merged(environment, "jupyterhub")
    c = Config()
    c.JupyterHub.services, c.JupyterHub.load_roles = list(services), []
    given = {"custom.nexus": values["custom"]["nexus"]}
    program = values["hub"]["extraConfig"]["nexus"].replace("os.environ", "environment")
    exec(program, {"c": c, "get_config": given.get, "environment": ENVIRONMENT})  # noqa: S102 - as z2jh does
    return c


def services_of(c: Config) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in c.JupyterHub.services}


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_each_environment_starts_pods_of_known_images_behind_admission(environment: str) -> None:
    c = configured(environment)
    assert c.JupyterHub.spawner_class is KubernetesSpawner
    assert c.KubernetesSpawner.images == {"nexus": "nexus-lab:0.1.0"}
    assert c.AdmittedServer.service.url == "http://nexus-allocator/services/nexus/api/hub"
    assert c.Spawner.start_timeout == 600


def test_what_the_values_add_to_the_hub_stays_and_servers_may_ask_for_dask_clusters() -> None:
    c = configured("dev", services=[{"name": "dask-gateway", "url": "http://traefik-dask-gateway"}])
    assert set(services_of(c)) == {"nexus", "idle-culler", "dask-gateway"}
    enter = "access:services!service=dask-gateway"
    assert enter in c.Spawner.server_token_scopes
    (person,) = [each for each in c.JupyterHub.load_roles if each["name"] == "user"]
    assert enter in person["scopes"]
    assert enter not in PERSON_SCOPES


def test_dask_clusters_are_admitted_by_the_backend_that_the_gateways_values_name() -> None:
    c, values = Config(), merged("dev", "dask-gateway")["gateway"]
    program = values["extraConfig"]["nexus"].replace("os.environ", "environment")
    exec(program, {"c": c, "environment": ENVIRONMENT})  # noqa: S102 - as the gateway's chart does
    assert import_item(c.DaskGateway.backend_class) is AdmittedKubeBackend
    hub = merged("dev", "jupyterhub")
    in_lab = hub["custom"]["nexus"]["serverEnvironment"]["DASK_GATEWAY__ADDRESS"]
    assert in_lab == hub["hub"]["services"]["dask-gateway"]["url"] + values["prefix"]
    assert values["auth"]["jupyterhub"]["jupyterhubServiceName"] in hub["hub"]["services"]


def test_the_culler_that_gives_reasons_runs_with_its_own_token() -> None:
    culler = services_of(configured("prod"))["idle-culler"]
    assert f"--config={CULLER}" in culler["command"]
    assert culler["api_token"] == ENVIRONMENT["NEXUS_CULLER_TOKEN"]
    assert CULLER.exists()
    assert merged("prod", "jupyterhub")["cull"]["enabled"] is False


def test_the_portal_has_a_host_of_its_own_but_in_dev() -> None:
    assert services_of(configured("dev"))["nexus"]["url"] == "http://nexus-allocator"
    for environment, host in (("staging", "portal.staging.nexus"), ("prod", "portal.nexus")):
        portal = services_of(configured(environment))["nexus"]
        assert portal["oauth_redirect_uri"] == f"https://{host}.example.org/services/nexus/oauth_callback"
        assert "url" not in portal
        hub = merged(environment, "jupyterhub")["hub"]["config"]["JupyterHub"]["subdomain_host"]
        settings = merged(environment, "nexus")["settings"]
        assert settings["hubPublicUrl"] == hub
        assert settings["publicUrl"] == f"https://{host}.example.org"


def test_a_hub_without_its_secrets_or_values_says_which() -> None:
    with pytest.raises(BadClusterValues, match=r"custom\.nexus\.images.*NEXUS_CLIENT_SECRET"):
        configure_in_cluster(
            Config(), {"serviceUrl": "http://nexus", "signIn": {"issuer": "x"}},
            dict.fromkeys(SECRETS[:-1], "x"),
        )  # fmt: skip
