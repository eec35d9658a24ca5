"""The bill of materials of an image, CycloneDX as JSON: what its lock pins and what Debian installed.

Usage: python3 bill.py NAME LOCK..., inside the image: ``dpkg-query`` and the markers' answers are its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def pins_of(lock: str) -> list[tuple[str, str]]:
    """Return name and version of each package that the lock pins for this Python and system."""
    # It is among what each of our locks pins; the proxy's image has no such lock, and not it either.
    from packaging.requirements import Requirement  # noqa: PLC0415

    lines = (line.rstrip("\\").strip() for line in lock.splitlines() if "==" in line and line[0].isalnum())
    pins = [Requirement(line) for line in lines]
    kept = (pin for pin in pins if pin.marker is None or pin.marker.evaluate())
    return [(pin.name, str(pin.specifier).removeprefix("==")) for pin in kept]


def debian_packages() -> list[tuple[str, str]]:
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "-W", "-f", "${Package} ${Version}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [(name, version) for name, version in (line.split() for line in listed.stdout.splitlines())]


def node_packages(lock: Path) -> list[tuple[str, str]]:
    packages = json.loads(lock.read_text())["packages"]
    return [(path.rpartition("node_modules/")[2], each["version"]) for path, each in packages.items() if path]


def component(kind: str, name: str, version: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": f"pkg:{kind}/{name}@{version}"}


def bill(image: str, components: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image}},
        "components": sorted(components, key=lambda each: each["purl"]),
    }


def main(image: str, *locks: str) -> None:
    found = [component("deb/debian", *each) for each in debian_packages()]
    for lock in map(Path, locks):
        if lock.suffix == ".json":
            found += [component("npm", *each) for each in node_packages(lock)]
        else:
            found += [component("pypi", *each) for each in pins_of(lock.read_text())]
    json.dump(bill(image, found), sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
