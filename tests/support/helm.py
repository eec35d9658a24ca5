"""Helm, built once from its Go module into the cache outside the clone, and a chart rendered by it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.support.romanisim_ramp import cache_folder, locked

VERSION = "3.19.0"
KUBERNETES_MINOR = 34
CHARTS = Path(__file__).parents[2] / "helm"
CHART = CHARTS / "nexus"
BUILD_TIMEOUT_S = 1800
# What the chart cannot know, and values with which it makes everything that it can.
NEEDED = {"settings__publicUrl": "https://portal.example.org", "networkPolicy__databaseCidr": "10.0.0.0/16"}
EVERYTHING = NEEDED | {
    "postgres__embedded": "true", "ingress__enabled": "true", "ingress__host": "portal.example.org",
    "httpRoute__enabled": "true", "monitoring__serviceMonitor__enabled": "true",
    "service__autoscaling__enabled": "true", "settings__mail__host": "mail.example.org",
    "settings__mail__from": "nexus@example.org", "settings__mail__user": "nexus", "tiersFile": "version: 4",
    "settings__store__bucket": "nexus", "settings__store__role": "arn:aws:iam::123456789012:role/nexus",
    "settings__store__mission": "mission", "settings__store__region": "us-east-1",
    "jobs__backup__enabled": "true", "jobs__backup__existingClaim": "backups",
    "jobs__backup__objects": "{s3://nexus/accounts/}",
}  # fmt: skip
# With a volume to look after.
STORAGE = {
    "storage__enabled": "true", "storage__existingClaim": "homes", "storage__recordsClaim": "purges",
    "storage__coldBucket": "nexus-cold", "storage__mostPlaces": "500", "storage__driver": "openzfs",
    "storage__fsxVolume": "fsvol-1", "storage__backup__vault": "nexus",
    "storage__backup__role": "arn:aws:iam::1:role/b",
    "storage__backup__fileSystem": "arn:aws:elasticfilesystem:eu-west-1:1:file-system/fs-1",
    "tiersFile": "version: 4",
}  # fmt: skip
# Where the version of Kubernetes stands that charts are rendered for; a plain build has none.
MARKS = ("pkg/chartutil", "pkg/lint/rules")


def helm() -> Path | None:
    """Return the program, None where there is neither one nor a Go to build it (4 CPU minutes, once)."""
    folder = cache_folder() / f"helm-{VERSION}"
    program = folder / "helm"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not program.exists():
            _build(go, folder)
    return program


def _build(go: str, folder: Path) -> None:
    set_to = [
        f"-X helm.sh/helm/v3/{mark}.k8sVersion{part}={number}"
        for mark in MARKS
        for part, number in (("Major", 1), ("Minor", KUBERNETES_MINOR))
    ]
    words = [
        go,
        "install",
        "-ldflags",
        " ".join(["-s", "-w", *set_to]),
        f"helm.sh/helm/v3/cmd/helm@v{VERSION}",
    ]
    environment = os.environ | {"GOBIN": str(folder), "GOFLAGS": ""}
    subprocess.run(words, check=True, env=environment, cwd="/", timeout=BUILD_TIMEOUT_S)


def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=120)


def rendered(program: Path, **values: str) -> list[dict[str, Any]]:
    """Return the manifests of the chart with these values; names of values have ``__`` for each dot."""
    done = run(program, "template", "nexus", str(CHART), *given(values))
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def given(values: dict[str, str]) -> list[str]:
    """Return the words that give helm these values; names have ``__`` for each dot."""
    return [
        word for name, value in values.items() for word in ("--set", f"{name.replace('__', '.')}={value}")
    ]


def merged(environment: str, chart: str) -> dict[str, Any]:
    """Return the chart's values with an environment's on top, as helm merges them."""
    below = CHARTS / chart / "values.yaml"
    above = CHARTS / "environments" / environment / f"{chart}.yaml"
    differs = yaml.safe_load(above.read_text()) if above.exists() else {}
    return over(yaml.safe_load(below.read_text()), differs)


def over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for name, value in above.items():
        deeper = isinstance(value, dict) and isinstance(below.get(name), dict)
        both[name] = over(below[name], value) if deeper else value
    return both


def pods_of(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the pod's specification of everything that runs."""
    for each in manifests:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield each["metadata"]["name"], spec["template"]["spec"]


def over_the_volume(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the pod's specification of what mounts homes, team folders and scratch."""
    for name, pod in pods_of(manifests):
        if any(each["name"] == "volume" for each in pod["volumes"]):
            yield name, pod
