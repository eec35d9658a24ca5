"""A tiny cache of CRDS, as its client finds one that a server has filled: rules, files, configuration."""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONTEXT: Final = "roman_0007.pmap"
_DATE: Final = ("ROMAN.META.EXPOSURE.START_TIME",)
Match = Mapping[tuple[str, ...], Mapping[str, str]]
"""File names by date (2020-01-01 00:00:00), by the values of what is matched."""


@dataclass(frozen=True)
class Rules:
    """What the rules of one kind of reference match, and what they give."""

    keys: tuple[str, ...]
    match: Match


def make(folder: Path, kinds: Mapping[str, Rules], files: Mapping[str, Path]) -> dict[str, str]:
    """Fill ``folder`` with ``kinds`` and ``files`` (by CRDS's names); return the environment to use it in.

    The server it names answers nobody.
    """
    mappings = folder / "mappings" / "roman"
    mappings.mkdir(parents=True)
    instrument = {kind: f"roman_wfi_{kind}_0001.rmap" for kind in kinds}
    for kind, rules in kinds.items():
        _write(
            mappings / instrument[kind], _header("REFERENCE", kind, (rules.keys, _DATE)), _rules(rules.match)
        )
    named = "roman_wfi_0001.imap"
    _write(mappings / named, _header("INSTRUMENT", None, ("REFTYPE",)), repr({**instrument, "ipc": "N/A"}))
    _write(
        mappings / CONTEXT, _header("PIPELINE", None, ("ROMAN.META.INSTRUMENT.NAME",)), repr({"WFI": named})
    )
    references, settings = folder / "references" / "roman" / "wfi", folder / "config" / "roman"
    references.mkdir(parents=True)
    settings.mkdir(parents=True)
    for name, source in files.items():
        shutil.copy(source, references / name)
    told = {"observatory": "roman", "latest_context": CONTEXT, "operational_context": CONTEXT}
    told |= {"last_synced": "2027", "force_remote_mode": False, "bad_files": "", "bad_files_list": []}
    (settings / "server_config").write_text(repr(told))
    return {"CRDS_PATH": str(folder), "CRDS_SERVER_URL": "https://localhost:1"}


def _header(mapping: str, kind: str | None, keys: tuple[object, ...]) -> dict[str, object]:
    header: dict[str, object] = {
        "mapping": mapping,
        "observatory": "ROMAN",
        "parkey": keys,
        "derived_from": "tests",
    }
    header |= {} if mapping == "PIPELINE" else {"instrument": "WFI"}
    return header if kind is None else {**header, "filekind": kind.upper()}


def _rules(match: Match) -> str:
    rows = [f"{values!r} : UseAfter({dict(dated)!r})," for values, dated in match.items()]
    return "\n".join(["Match({", *rows, "})"])


def _write(path: Path, header: Mapping[str, object], selector: str) -> None:
    """Write rules with the checksum that the client asks for: of all lines but its own."""
    lines = [f"    {key!r} : {value!r}," for key, value in {**header, "name": path.name}.items()]
    before, after = ["header = {", *lines], ["}", "", f"selector = {selector}", ""]
    content = "\n".join([*before, *after])
    sum_line = f"    'sha1sum' : '{hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()}',"
    path.write_text("\n".join([*before, sum_line, *after]))
