"""What `verify` asks of every image, from the inside."""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

MOUNTED = Path(__file__).parent
BILL = Path("/opt/nexus/bill.cdx.json")
# Where settings of the machine that built the image, or of who did, would be.
SETTINGS = (
    "/etc",
    "/root",
    "/home",
    "/run/secrets",
    "/usr/local/etc",
    "/opt/nexus/etc",
    "/opt/nexus/pyvenv.cfg",
)
EVERYWHERE = ("/opt", "/usr/local", "/etc", "/root", "/home", "/tmp", "/var/tmp")  # noqa: S108
GIVEN_AWAY = (
    ".npmrc",
    ".netrc",
    ".pypirc",
    "pip.conf",
    "auth.conf",
    "of-the-machine.sources",
    "direct_url.json",
)
KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{64}")
LARGEST_SETTING = 4 << 20


def require(holds: object, otherwise: str) -> None:
    if not holds:
        sys.exit(f"verify: {otherwise}")


def verify_image() -> None:
    """End with a message unless it runs as anybody, holds nothing of who built it, and knows its parts."""
    require(os.getuid() not in (0, 1000), "is to be run as a stranger")
    require(not list(Path("/var/lib/apt/lists").glob("*_*")), "lists of Debian's packages were left")
    require_nothing_of_the_builder(json.loads((MOUNTED / "of-this-machine.json").read_text()))
    require_bill()
    writable = [
        str(path) for path in files_below("/opt", "/usr", "/etc") if path.stat().st_mode & stat.S_IWOTH
    ]
    require(not writable, f"anybody may write {writable[:3]}")


def files_below(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                path = Path(place, name)
                if path.is_file() and not path.is_symlink():
                    yield path


def require_nothing_of_the_builder(
    names: list[str], *, everywhere: tuple[str, ...] = EVERYWHERE, settings: tuple[str, ...] = SETTINGS
) -> None:
    for path in files_below(*everywhere):
        require(path.name not in GIVEN_AWAY or not path.stat().st_size, f"{path} was left")
    for path in files_below(*settings):
        # Sources of Debian there are the base's own: those of the machine went with their file.
        if path.is_relative_to("/etc/apt") or not os.access(path, os.R_OK):
            continue
        if path.stat().st_size > LARGEST_SETTING:
            continue
        content = path.read_bytes()
        for name in names:
            require(
                name.encode() not in content, f"{path} names a host or secret of the machine that built this"
            )
        require(not KEY.search(content), f"{path} holds a private key")


def require_bill() -> None:
    """What is installed is what the bill lists, save our own packages and pip."""
    parts = json.loads(BILL.read_text())["components"]
    listed = {each["name"]: each["version"] for each in parts if each["purl"].startswith("pkg:pypi/")}
    for each in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower()
        if not name.startswith("nexus-") and name != "pip":
            billed = listed.get(name)
            require(billed == each.version, f"installed is {each.version} of {name}, the bill has {billed}")


def require_clear_words_without_data() -> None:
    """Without the mounted data files stpsf and stsynphot say which folder they miss, and fetch nothing."""
    import stpsf.utils  # noqa: PLC0415 - not every image has them
    import stsynphot.config  # noqa: PLC0415

    require(Path("/data/README.md").is_file(), "/data does not say what is mounted there")
    try:
        stpsf.utils.get_stpsf_data_path()
    except OSError as missing:
        require("/data/stpsf" in str(missing), f"stpsf does not say where its data should be: {missing}")
    else:
        sys.exit("verify: stpsf takes data that are not there")
    require(stsynphot.config.conf.rootdir == "/data/cdbs", "stsynphot looks elsewhere than in /data/cdbs")
    unset = {"stips_data", "pandeia_refdata", "PSF_DIR"} - set(os.environ)
    require(not unset, f"stips and pandeia would look into their own folders: {unset}")
