"""What images are made of, read without building one: `make images` does, and runs `verify` inside each."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "images"
# A path of the context in a Dockerfile, and what COPY takes from it.
MOUNTED = re.compile(r"/context/([\w./-]+)")
COPIED = re.compile(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", re.MULTILINE)
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+?))?\s*\\?$", re.MULTILINE)
ADDRESS = re.compile(r"https?://(?!127\.0\.0\.1|[\w.]*example\.org)")


def script(name: str, folder: Path = IMAGES) -> ModuleType:
    """Import a program of the images with its neighbours beside it, as when it is run."""
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def build() -> ModuleType:
    return script("build")


def names() -> list[str]:
    return sorted(path.parent.name for path in IMAGES.glob("*/Dockerfile"))


def pins(lock: Path) -> dict[tuple[str, str], str]:
    """Return each package's version by its name and the marker under which it is meant."""
    return {(name, marker): version for name, version, marker in PIN.findall(lock.read_text())}


def read_by(dockerfile: str) -> list[str]:
    """Return the paths of the project that a Dockerfile reads."""
    return MOUNTED.findall(dockerfile) + [
        path for line in COPIED.findall(dockerfile) for path in line.split()
    ]


@pytest.mark.parametrize("name", names())
def test_what_a_dockerfile_reads_is_there_and_known_to_its_tag(name: str, build: ModuleType) -> None:
    inputs = {str(path) for path in build.inputs_of(build.IMAGES[name])}
    read = read_by((IMAGES / name / "Dockerfile").read_text())
    assert read
    for path in read:
        assert any(each == path or each.startswith(f"{path}/") for each in inputs), path


def test_every_image_is_built_and_every_one_has_its_parts(build: ModuleType) -> None:
    assert set(build.IMAGES) == set(names())
    for name in set(names()) - {"base"}:
        assert {path.name for path in (IMAGES / name).iterdir()} >= {"Dockerfile", "README.md", "verify"}
        assert list((IMAGES / name).glob("*lock*")), f"{name} has no lock"


@pytest.mark.parametrize("name", sorted(set(names()) - {"base"}))
def test_an_image_stands_on_the_given_base_and_runs_as_nobody_special(name: str) -> None:
    text = (IMAGES / name / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == "1000:1000"


@pytest.mark.parametrize(
    "lock", sorted(IMAGES.glob("*/requirements.lock")), ids=lambda path: path.parent.name
)
def test_a_lock_has_the_project_s_versions_and_a_hash_of_each(lock: Path) -> None:
    project = {name: set() for name, _ in pins(ROOT / "requirements-dev.lock")}
    for (name, _), version in pins(ROOT / "requirements-dev.lock").items():
        project[name].add(version)
    found = pins(lock)
    assert found
    others = {
        name: version for (name, _), version in found.items() if version not in project.get(name, {version})
    }
    assert not others
    entries = lock.read_text().count("--hash=sha256:"), len(found)
    assert all("--hash=sha256:" in each for each in re.split(r"\n(?=\S)", lock.read_text().strip())), entries


def test_what_a_kernel_pickles_a_worker_reads() -> None:
    lab, dask = (pins(IMAGES / image / "requirements.lock") for image in ("lab", "dask"))
    versions = {(name, version) for (name, _), version in lab.items()}
    assert {(name, version) for (name, _), version in dask.items()} <= versions


def test_a_person_s_server_and_its_hub_are_of_one_version() -> None:
    hub, lab = (pins(IMAGES / name / "requirements.lock") for name in ("hub", "lab"))
    assert hub["jupyterhub", ""] == lab["jupyterhub", ""]


def test_the_proxy_is_the_one_of_the_embedded_nexus() -> None:
    embedded = ROOT / "allocator/nexus_allocator/embedded/node/package-lock.json"
    here, there = (
        json.loads(path.read_text())["packages"] for path in (IMAGES / "proxy/package-lock.json", embedded)
    )
    assert all(each["version"] == there[path]["version"] for path, each in here.items() if path)


def test_nothing_of_an_image_names_a_host() -> None:
    for path in IMAGES.rglob("*"):
        if path.is_file() and path.suffix not in {".md", ".pyc", ".json"}:
            assert not ADDRESS.search(path.read_text()), path
    packages = json.loads((IMAGES / "proxy" / "package-lock.json").read_text())["packages"]
    assert not [path for path, each in packages.items() if "resolved" in each]


def test_the_tag_changes_with_what_is_built_and_not_with_what_describes_it(
    build: ModuleType, tmp_path: Path
) -> None:
    def tag() -> str:
        return build.tag_of(build.Image("small", ("code",)), "debian:trixie-slim", tmp_path)

    files = {
        "images/small/Dockerfile": "FROM x",
        "images/small/README.md": "a",
        "code/a.py": "1",
        "else/b.py": "1",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    first = tag()
    assert re.fullmatch(rf"{re.escape(build.VERSION)}-[0-9a-f]{{12}}", first)
    for path in ("images/small/README.md", "else/b.py"):
        (tmp_path / path).write_text("2")
    assert tag() == first
    (tmp_path / "code/a.py").write_text("2")
    assert tag() != first


@pytest.mark.parametrize("program", sorted(IMAGES.glob("*/verify")), ids=lambda path: path.parent.name)
def test_a_verify_is_a_program_that_asks_what_every_image_is_asked(program: Path) -> None:
    calls = {
        node.func.id for node in ast.walk(ast.parse(program.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }  # fmt: skip
    assert {"verify_image", "require"} <= calls
    assert program.stat().st_mode & 0o100


@pytest.mark.parametrize(
    "script",
    ["base/debian-install", "base/python-install", "lab/python-add", "lab/settle", "proxy/node-install"],
)
def test_what_installs_is_sound_shell(script: str) -> None:
    subprocess.run(["sh", "-n", str(IMAGES / script)], check=True)


def test_the_chart_and_the_images_agree_on_names_and_version(build: ModuleType) -> None:
    assert f'appVersion: "{build.VERSION}"' in (ROOT / "helm/nexus/Chart.yaml").read_text()
    values = (ROOT / "helm/nexus/values.yaml").read_text() + (
        ROOT / "helm/jupyterhub/values.yaml"
    ).read_text()
    assert "repository: nexus-allocator" in values
    assert "name: nexus-hub" in values


def test_hosts_and_passwords_of_the_machine_are_what_verify_looks_for() -> None:
    named_in = script("surroundings").named_in
    text = "[global]\nindex-url = https://reader:hunter2@pypi.example.org/simple\nURIs: http://debian.example.org/debian\n"
    assert named_in(text) == {"reader", "hunter2", "pypi.example.org", "debian.example.org"}


def test_the_bill_lists_what_this_python_gets_and_nothing_for_others() -> None:
    bill = script("bill", IMAGES / "base")
    lock = (
        "a==1.0 \\\n    --hash=sha256:00\nb==2 ; python_full_version < '3.12' \\\n"
        "b==3 ; python_full_version >= '3.12' \\\n"
        "c==4 ; sys_platform == 'win32' \\\nd==5 ; sys_platform != 'win32' \\\n"
    )
    here = "2" if sys.version_info < (3, 12) else "3"
    assert bill.pins_of(lock) == [("a", "1.0"), ("b", here), ("d", "5")]
    told = json.dumps(bill.bill("nexus-x", [bill.component("pypi", "a", "1.0")]))
    assert '"purl": "pkg:pypi/a@1.0"' in told


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app.conf", "mirror = mirror.example.org"),
        ("pip.conf", "[global]"),
        # In two parts: no file of the project may look as if it held one.
        ("key.pem", "-----BEGIN " + "PRIVATE KEY-----\n" + "A" * 64),
    ],
)
def test_what_the_builder_left_in_an_image_is_found(path: str, text: str, tmp_path: Path) -> None:
    inside = script("inside")
    where = {"everywhere": (str(tmp_path),), "settings": (str(tmp_path),)}
    (tmp_path / "harmless.conf").write_text("mirror = other.example.org")
    inside.require_nothing_of_the_builder(["mirror.example.org"], **where)
    (tmp_path / path).write_text(text)
    with pytest.raises(SystemExit, match=path):
        inside.require_nothing_of_the_builder(["mirror.example.org"], **where)
