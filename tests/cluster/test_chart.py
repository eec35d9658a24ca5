"""The allocation service's chart, rendered: strict about values, hardened, and true to the service."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import Draft7Validator
from tests.support.helm import (
    CHART,
    EVERYTHING,
    NEEDED,
    STORAGE,
    given,
    merged,
    over_the_volume,
    pods_of,
    rendered,
    run,
)

from nexus_allocator.api.counted import Counted
from nexus_allocator.api.metrics import Now
from nexus_allocator.cli import app as commands
from nexus_allocator.config import Settings, StorageSettings
from nexus_allocator.domain.outbox import OutgoingState
from nexus_allocator.domain.places import PlaceKind
from nexus_allocator.domain.states import HoldState
from nexus_allocator.services.monitoring import Gauges
from nexus_allocator.store.places import PlacesNow

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def plain(program: Path) -> list[Manifest]:
    return rendered(program, **NEEDED)


@pytest.fixture(scope="session")
def everything(program: Path) -> list[Manifest]:
    return rendered(program, **EVERYTHING)


@pytest.fixture(scope="session")
def storing(program: Path) -> list[Manifest]:
    """The chart with a volume to look after; what is there without one is looked at as before."""
    return rendered(program, **NEEDED | STORAGE)


def ours(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield the name and each container of the service's own image."""
    for name, pod in pods_of(manifests):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            if container["image"].startswith("nexus-allocator"):
                yield name, container


def paths(values: Manifest, above: str = "") -> Iterator[str]:
    """Yield the path of every value that stands for itself."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from paths(value, f"{above}{name}.")
        else:
            yield above + name


def named(schema: Manifest, above: str = "") -> set[str]:
    """Return the paths that a schema names; what may hold anything is one."""
    inner = schema.get("properties")
    if inner is None:
        return {above.rstrip(".")}
    return {path for name, part in inner.items() for path in named(part, f"{above}{name}.")}


def test_lint_finds_nothing(program: Path) -> None:
    done = run(program, "lint", "--strict", str(CHART), *given(NEEDED))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"settings__publicUrl": ""}, "what a browser sees of the portal"),
        ({"networkPolicy__databaseCidr": ""}, "where PostgreSQL is"),
        ({"settings__publicUrl": "portal.example.org/"}, "publicUrl"),
        ({"settings__meteringInterval": "60"}, "meteringInterval"),
        ({"service__replicas": "none"}, "replicas"),
        ({"settings__mail__security": "none"}, "security"),
        ({"settings__mail__host": "mail.example.org"}, "the sender's address"),
        (STORAGE | {"storage__existingClaim": ""}, "the claim with homes, teams and scratch"),
        (STORAGE | {"storage__recordsClaim": ""}, "plans of purges and their logs"),
        (STORAGE | {"storage__driver": "nfs"}, "driver"),
        ({"settings__store__bucket": "nexus"}, "who may write in the bucket"),
    ],
)
def test_a_value_that_lacks_or_is_wrong_is_refused_by_name(
    program: Path, changes: dict[str, str], word: str
) -> None:
    done = run(program, "template", str(CHART), *given(NEEDED | changes))
    assert done.returncode != 0
    assert word in done.stderr


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    del schema["properties"]["global"]
    known, given = named(schema), set(paths(values))
    # Below some names stands what Kubernetes defines: `service.resources.limits.memory`.
    assert {path for path in given if not any(f"{path}.".startswith(f"{each}.") for each in known)} == set()
    assert {each for each in known if not any(f"{path}.".startswith(f"{each}.") for path in given)} == set()


def test_the_same_values_give_the_same_manifests_and_another_image_another_migration(program: Path) -> None:
    assert rendered(program, **EVERYTHING) == rendered(program, **EVERYTHING)
    jobs = {
        each["metadata"]["name"]
        for tag in ("1", "2")
        for each in rendered(program, **NEEDED, image__tag=f"v{tag}")
        if each["kind"] == "Job"
    }
    assert len(jobs) == 2


def test_every_pod_is_without_root_rights_and_a_kubernetes_token(everything: list[Manifest]) -> None:
    pods = dict(pods_of(everything))
    assert len(pods) == 8
    for name, pod in pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith(":latest"), name
    assert not [each["kind"] for each in everything if each["kind"] in ("Role", "ClusterRole", "Secret")]


def test_pods_hear_of_no_service_by_variables_that_the_settings_would_refuse(
    everything: list[Manifest], storing: list[Manifest]
) -> None:
    for name, pod in pods_of([*everything, *storing]):
        assert pod["enableServiceLinks"] is False, name


def test_containers_are_given_settings_the_service_knows_and_secrets_by_reference_only(
    everything: list[Manifest],
) -> None:
    known = {f"NEXUS_{name.upper()}" for name in Settings.model_fields}
    for name, container in ours(everything):
        given = {each["name"]: each for each in container["env"]}
        # The hub's database is the backup's alone.
        assert set(given) - known == ({"NEXUS_HUB_DATABASE_URL"} if container["name"] == "backup" else set())
        assert {"NEXUS_DATABASE_URL", "NEXUS_HUB_TOKEN", "NEXUS_INTERNAL_TOKEN"} <= set(given), name
        for setting in given.values():
            is_secret = setting["name"].endswith(("_TOKEN", "_KEY", "_PASSWORD", "DATABASE_URL"))
            assert ("secretKeyRef" in setting.get("valueFrom", {})) == is_secret, setting


def test_what_containers_run_are_commands_of_the_service(everything: list[Manifest]) -> None:
    known = {info.name or info.callback.__name__ for info in commands.registered_commands if info.callback}
    ran = {container["args"][1] for _, container in ours(everything) if container["args"][0] != "uvicorn"}
    assert ran == {"migrate", "rounds", "turn", "audit", "seal", "backup"}
    assert ran <= known


def test_storage_is_looked_after_by_commands_that_are_there_each_day_and_as_asked(
    storing: list[Manifest],
) -> None:
    storage = typer.main.get_command(commands).commands["storage"]  # type: ignore[attr-defined]
    ran = {name: container["args"][1:] for name, container in ours(storing) if "storage" in container["args"]}
    assert ran == {
        "nexus-allocator-storage": ["storage", "work", "--watch"],
        "nexus-allocator-storage-settle": ["storage", "settle"],
        "nexus-allocator-storage-measure": ["storage", "measure", "--threads", "16"],
        "nexus-allocator-storage-charge": ["storage", "charge"],
        "nexus-allocator-storage-purge": ["storage", "purge", "turn", "--yes"],
        "nexus-allocator-storage-snapshot": ["storage", "snapshot", "turn", "--yes"],
    }
    for words in ran.values():
        command, options = storage, set()
        for word in words[1:]:
            if hasattr(command, "commands"):
                command = command.commands[word]
            elif word.startswith("--"):
                options.add(word)
        assert options <= {name for parameter in command.params for name in parameter.opts}, words


def test_only_pods_over_the_volume_are_root_with_rights_over_files_and_no_token(
    storing: list[Manifest],
) -> None:
    storage = dict(over_the_volume(storing))
    assert set(storage) == {
        f"nexus-allocator-storage{job}" for job in ("", "-measure", "-purge", "-snapshot")
    }
    for name, pod in pods_of(storing):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"].get("runAsNonRoot", False) is (name not in storage), name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            rights, gains = container["securityContext"]["capabilities"], []
            if name in storage and container["name"] != "wait-for-schema":
                gains = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]
            assert (rights["drop"], rights.get("add", [])) == (["ALL"], gains), name
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, name
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        for container in pod["containers"]:
            assert "memory" in container["resources"]["limits"], name
    (waits,) = storage["nexus-allocator-storage"]["initContainers"]
    assert waits["args"] == ["nexus-allocator", "migrate", "--wait"]
    known = {f"NEXUS_STORAGE_{field.upper()}" for field in StorageSettings.model_fields}
    known |= {"NEXUS_DATABASE_URL", "NEXUS_TIERS_FILE"}
    for name, pod in storage.items():
        given = {each["name"]: each for each in pod["containers"][0]["env"]}
        assert set(given) == known, name
        assert [each for each in given if "valueFrom" in given[each]] == ["NEXUS_DATABASE_URL"], name


def test_the_service_without_rounds_has_them_beside_it_and_both_wait_for_the_schema(
    plain: list[Manifest],
) -> None:
    deployments = {each["metadata"]["name"]: each["spec"] for each in plain if each["kind"] == "Deployment"}
    assert {name: spec["replicas"] for name, spec in deployments.items()} == {
        "nexus-allocator": 2,
        "nexus-allocator-rounds": 1,
    }
    for spec in deployments.values():
        pod = spec["template"]["spec"]
        assert pod["initContainers"][0]["args"] == ["nexus-allocator", "migrate", "--wait"]
        assert {"name": "NEXUS_ROUNDS", "value": "elsewhere"} in pod["containers"][0]["env"]


def test_nothing_comes_in_or_goes_out_that_no_policy_names(everything: list[Manifest]) -> None:
    policies = {
        each["metadata"]["name"]: each["spec"] for each in everything if each["kind"] == "NetworkPolicy"
    }
    deny = policies["nexus-allocator-default-deny"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    outside = [
        to["ipBlock"]
        for rule in policies["nexus-allocator"]["egress"]
        for to in rule["to"]
        if "ipBlock" in to
    ]
    # The cloud's metadata server is in 169.254.0.0/16.
    assert all("169.254.0.0/16" in block["except"] for block in outside)
    assert set(policies) >= {"nexus-allocator-postgres"}
    callers = [each for rule in policies["nexus-allocator"]["ingress"] for each in rule["from"]]
    parts = {each["podSelector"]["matchLabels"].get("component", "gateway") for each in callers}
    # Servers too: their card, and their credentials for the object store.
    assert parts == {"hub", "proxy", "singleuser-server", "gateway"}


def test_the_service_acts_in_the_cloud_as_its_account_says(program: Path) -> None:
    arn = "arn:aws:iam::123456789012:role/nexus-service"
    made = rendered(program, **NEEDED, **{r"serviceAccount__annotations__eks\.amazonaws\.com/role-arn": arn})
    (account,) = (each for each in made if each["kind"] == "ServiceAccount")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": arn}


def test_alerts_and_dashboards_ask_for_metrics_that_the_service_has() -> None:
    gauges = Gauges(
        {("small", HoldState.RUNNING): 1}, 0, {OutgoingState.WAITING: 1}, requests_waiting=0, meter_age_s=1.0,
        meter_whole_age_s=1.0, pool_spent_micro=0, places={PlaceKind.HOME: PlacesNow(1, 0, 0)},
    )  # fmt: skip
    families = [*Now(gauges).collect(), *Counted().registry.collect()]
    known = {family.name for family in families}
    asked = set()
    for path in (CHART / "alerts.yaml", CHART / "dashboards" / "allocation.json"):
        asked |= set(re.findall(r"nexus_[a-z_]+", path.read_text()))
    shortened = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in asked}
    assert shortened == known


def test_prometheus_asks_where_the_service_answers(everything: list[Manifest]) -> None:
    monitor = next(each for each in everything if each["kind"] == "ServiceMonitor")
    assert monitor["spec"]["endpoints"][0]["path"] == "/services/nexus/api/metrics"


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_each_environment_renders_and_changes_only_what_differs(program: Path, environment: str) -> None:
    values = CHART.parent / "environments" / environment / "nexus.yaml"
    done = run(program, "template", "nexus", str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stderr
    images = [word for word in done.stdout.split() if word.startswith("nexus-allocator:")]
    assert len(images) >= 5


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_values_of_jupyterhub_are_such_as_its_chart_accepts(environment: str) -> None:
    schema = Path(__file__).parents[3] / "shared/data/z2jh-4.4.0/values.schema.json"
    if not schema.exists():
        pytest.skip("the schema of z2jh 4.4.0 is not here")
    validator = Draft7Validator(json.loads(schema.read_text()))
    found = list(validator.iter_errors(merged(environment, "jupyterhub")))
    # What it requires and we leave alone, the chart's own defaults have.
    assert [error.message for error in found if error.validator != "required"] == []
    wrong = merged(environment, "jupyterhub") | {"cull": {"enable": False}}
    assert [error for error in validator.iter_errors(wrong) if error.validator != "required"]
