"""The hub's configuration in a cluster: on top of what z2jh sets, and told what it lacks."""

from typing import Any

import pytest
from tests.support.helm import merged
from traitlets.config import Config

from nexus_allocator.hub.cluster_config import CULLER, SECRETS, BadClusterValues, configure_in_cluster
from nexus_allocator.hub.kube_spawner import KubernetesSpawner

ENVIRONMENT = {name: f"secret-of-{name.lower()}" for name in SECRETS}


def configured(environment: str) -> Config:
    """Run the values' own ``extraConfig`` as z2jh does, after what z2jh sets."""
    values = merged(environment, "jupyterhub")
    c = Config()
    c.JupyterHub.services, c.JupyterHub.load_roles = [], []
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
