"""A folder or S3 prefix of references, and the rule file that says which one fits an exposure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import IO, Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.errors import InputError, MismatchedReferenceError, MissingReferenceError
from nexus_pipeline.products import store
from nexus_pipeline.products.rows_on_disk import RowsOnDisk
from nexus_pipeline.references.files import read_reference, write_reference
from nexus_pipeline.references.kinds import DAWN, KINDS, Reference

RULES_FILE: Final = "rules.json"
CRDS: Final = "crds"
"""What a store is called that lies in no folder: ``crds`` or ``crds:CONTEXT``."""
_ROUNDING: Final = timedelta(seconds=1)
R = TypeVar("R", bound=Reference)


@dataclass(frozen=True)
class Rule:
    """``file`` holds for detector, filter and MA table number (None: any of them) from ``useafter`` on."""

    kind: str
    detector: str | None
    filter_name: str | None
    useafter: datetime
    file: str
    description: str = ""
    ma_table: int | None = None

    def fits(self, detector: str, filter_name: str, date: datetime, *, ma_table: int | None = None) -> bool:
        return (
            self.detector in (None, detector)
            and self.filter_name in (None, filter_name)
            and self.ma_table in (None, ma_table)
            and self.useafter <= date
        )

    @property
    def rank(self) -> tuple[int, datetime, tuple[bool, ...]]:
        """The most particular wins, as in CRDS, whose ``Match`` comes before ``UseAfter``; then the latest.

        Of two as particular and of one date, MA table goes before filter, and filter before detector.
        """
        particular = tuple(each is not None for each in (self.ma_table, self.filter_name, self.detector))
        return sum(particular), self.useafter, particular


@dataclass(frozen=True)
class ReferenceStore:
    """References at ``url`` with the rules read once; ``add`` returns a store that knows the new ones."""

    url: str
    rules: tuple[Rule, ...] = ()

    @property
    def context(self) -> str:
        """A name that changes with any rule, recorded in every product as CRDS's context is."""
        lines = sorted(json.dumps(_encoded(rule), sort_keys=True) for rule in self.rules)
        return f"nexus_{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"

    def find(
        self, kind: str, *, detector: str, filter_name: str, date: datetime, ma_table: int | None = None
    ) -> Rule:
        """Return the rule for an exposure; MissingReferenceError if none fits.

        Where no ``ma_table`` is said, rules of a particular one do not hold.
        """
        of_kind = (rule for rule in self.rules if rule.kind == kind)
        fitting = [rule for rule in of_kind if rule.fits(detector, filter_name, date, ma_table=ma_table)]
        if not fitting:
            raise MissingReferenceError(
                f"{self.url} has no {kind} reference for {detector} {filter_name} of {date:%Y-%m-%d}"
                f"{'' if ma_table is None else f' (MA table {ma_table})'}; "
                "`wfi references make` writes a synthetic set, --references names another store",
                kind=kind,
                detector=detector,
                filter_name=filter_name,
            )
        return max(fitting, key=lambda rule: rule.rank)

    def load(
        self, cls: type[R], *, detector: str, filter_name: str, date: datetime, ma_table: int | None = None
    ) -> R:
        """Find and read a reference of class ``cls``; MismatchedReferenceError if the file is another's."""
        where: dict[str, Any] = {"detector": detector, "filter_name": filter_name, "date": date}
        return self.read(cls, self.find(cls.kind, ma_table=ma_table, **where))

    def read(self, cls: type[R], rule: Rule, *, by_rows: bool = False) -> R:
        """Read the file of ``rule``; MismatchedReferenceError if it does not hold what the rule says.

        ``by_rows`` leaves planes on disk where it can.
        """
        url = self.locate(rule)
        reference = read_reference(rule.kind, url, by_rows=by_rows)
        if not isinstance(reference, cls):
            raise MismatchedReferenceError(f"{url}: a {reference.kind} reference, not {cls.kind}", url=url)
        if rule.detector is not None and reference.detector != rule.detector:
            raise MismatchedReferenceError(
                f"{url}: made for {reference.detector}, but the rules give it to {rule.detector}", url=url
            )
        if None not in (rule.ma_table, reference.ma_table) and reference.ma_table != rule.ma_table:
            raise MismatchedReferenceError(
                f"{url}: made for MA table {reference.ma_table}, but the rules give it to {rule.ma_table}",
                url=url,
            )
        _require_sound(reference, rule, url)
        return reference

    def locate(self, rule: Rule) -> str:
        """Return the URL of the file of ``rule``."""
        return rule.file if "/" in rule.file else store.join(self.url, rule.file)

    def with_files(self, files: Mapping[str, str]) -> Self:
        """Return a store where ``files``, URLs by kind, stand in place of all rules of these kinds.

        InputError for a kind there is not and a file that is not there. The context changes with them.
        """
        for kind, url in files.items():
            if kind not in KINDS:
                raise InputError(f"no reference is called {kind!r}; there are {', '.join(sorted(KINDS))}")
            if not store.exists(url):
                raise InputError(f"{url}: no such file (given as the {kind} reference)", url=url)
        kept = [rule for rule in self.rules if rule.kind not in files]
        given = [Rule(kind, None, None, DAWN, store.absolute(url)) for kind, url in files.items()]
        return replace(self, rules=(*kept, *given))

    def add(self, references: Iterable[Reference]) -> "ReferenceStore":
        """Write ``references`` and then the rules, so that no rule ever names a file that is not there."""
        rules = {rule.file: rule for rule in self.rules}
        for reference in references:
            rule = _rule_for(reference)
            write_reference(reference, store.join(self.url, rule.file))
            rules[rule.file] = rule
        grown = ReferenceStore(self.url, tuple(rules[name] for name in sorted(rules)))
        content = json.dumps({"rules": [_encoded(rule) for rule in grown.rules]}, indent=1).encode()
        store.save(store.join(self.url, RULES_FILE), partial(_write, content))
        return grown


def _require_sound(reference: Reference, rule: Rule, url: str) -> None:
    """Raise MismatchedReferenceError for a file that begins later than its rule, or knows nothing at all."""
    given = "/" in rule.file
    if not given and reference.useafter - rule.useafter > _ROUNDING:
        raise MismatchedReferenceError(
            f"{url}: holds from {reference.useafter:%Y-%m-%d} on, but the rules give it from "
            f"{rule.useafter:%Y-%m-%d}",
            url=url,
        )
    for name, plane in reference.planes.items():
        if np.issubdtype(plane.dtype, np.floating) and not _holds_a_number(plane):
            raise MismatchedReferenceError(f"{url}: its {name} holds no number at all", url=url)


def _holds_a_number(plane: NDArray[Any] | RowsOnDisk) -> bool:
    """Look at a few pixels first, which spares the rest in all but the worst case."""
    if isinstance(plane, RowsOnDisk):
        middle, n_rows = plane.shape[-2] // 2, plane.shape[-2]
        few = plane.rows(middle, middle + 1)
        return bool(np.isfinite(few).any()) or bool(np.isfinite(plane.rows(0, n_rows)).any())
    return bool(np.isfinite(plane.flat[::1009]).any()) or bool(np.isfinite(plane).any())


def open_store(url: str) -> ReferenceStore:
    """Return the store at ``url``, or CRDS; MissingReferenceError if there are no (readable) rules."""
    if url.partition(":")[0] == CRDS:
        from nexus_pipeline.references.crds_store import open_crds  # noqa: PLC0415 - builds on this module

        return open_crds(url)
    path = store.join(url, RULES_FILE)
    if not store.exists(path):
        raise MissingReferenceError(
            f"{url} is no reference store (no {RULES_FILE}); `wfi references make {url}` makes one", url=url
        )
    with store.open_for_reading(path) as handle:
        try:
            rows = json.load(handle)["rules"]
            return ReferenceStore(url, tuple(_decoded(row) for row in rows))
        except (ValueError, KeyError, TypeError) as error:
            raise MissingReferenceError(f"{path}: not a rule file ({error})", url=path) from error


def open_or_new(url: str) -> ReferenceStore:
    """Return the store at ``url``, or an empty one where there is none yet."""
    return open_store(url) if store.exists(store.join(url, RULES_FILE)) else ReferenceStore(url)


def _write(content: bytes, handle: IO[bytes]) -> None:
    handle.write(content)


def _rule_for(reference: Reference) -> Rule:
    parts = [
        "nexus",
        reference.detector,
        reference.filter_name,
        reference.kind,
        None if reference.ma_table is None else f"ma{reference.ma_table}",
        f"{reference.useafter:%Y%m%d}",
    ]
    name = "_".join(part.lower() for part in parts if part is not None)
    return Rule(
        kind=reference.kind,
        detector=reference.detector,
        filter_name=reference.filter_name,
        useafter=reference.useafter.astimezone(UTC),
        file=f"{name}.asdf",
        description=reference.description,
        ma_table=reference.ma_table,
    )


def _encoded(rule: Rule) -> dict[str, Any]:
    """Return ``rule`` for the file: without MA table where any will do, as when there was no such field."""
    row = {**asdict(rule), "useafter": rule.useafter.isoformat()}
    return {key: value for key, value in row.items() if key != "ma_table" or value is not None}


def _decoded(row: dict[str, Any]) -> Rule:
    return Rule(**{**row, "useafter": datetime.fromisoformat(row["useafter"])})
