"""The mission's Calibration Reference Data System as a reference store, through its official client.

``crds`` means the context that ``CRDS_CONTEXT`` or the server names, ``crds:roman_0001.pmap`` that one. Rules
and files lie in the folder ``CRDS_PATH``; what is not there yet is fetched from ``CRDS_SERVER_URL``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from nexus_pipeline.errors import InputError, MissingReferenceError
from nexus_pipeline.instrument.filters import SPECTRAL_ELEMENTS
from nexus_pipeline.references.kinds import DAWN, Reference
from nexus_pipeline.references.store import CRDS, ReferenceStore, Rule

OBSERVATORY: Final = "roman"
_PREFIX: Final = "crds://"
_SETTINGS: Final = (
    "CRDS_PATH names the folder of its rules and files, CRDS_SERVER_URL the server that fills it"
)
T = TypeVar("T")


@dataclass(frozen=True)
class CrdsStore(ReferenceStore):
    """References that ``pmap`` chooses; ``rules`` are those of ``with_files``, which go before."""

    pmap: str = ""

    @property
    def context(self) -> str:
        """The name of the pipeline mapping, and ours of the files given by hand beside it."""
        return f"{self.pmap}+{super().context}" if self.rules else self.pmap

    def find(
        self, kind: str, *, detector: str, filter_name: str, date: datetime, ma_table: int | None = None
    ) -> Rule:
        """Return the file of CRDS for an exposure; MissingReferenceError if it has none."""
        where: dict[str, Any] = {"detector": detector, "filter_name": filter_name, "date": date}
        if any(rule.kind == kind for rule in self.rules):
            return super().find(kind, ma_table=ma_table, **where)
        names = _asked(
            lambda crds: crds.getrecommendations(
                _parameters(detector, filter_name, date, ma_table),
                reftypes=[kind],
                context=self.pmap,
                observatory=OBSERVATORY,
            )
        )
        name = str(names[kind])
        if "NOT FOUND" in name.upper() or name.upper() == "N/A":
            raise MissingReferenceError(
                f"{self.pmap} of CRDS has no {kind} reference for {detector} {filter_name} of "
                f"{date:%Y-%m-%d} ({name}); another context may, or --reference {kind}=FILE gives one",
                kind=kind, detector=detector, filter_name=filter_name,
            )  # fmt: skip
        return Rule(kind, None, None, DAWN, _PREFIX + name)

    def locate(self, rule: Rule) -> str:
        """Return where the file of ``rule`` lies, fetched first where it was not yet."""
        if not rule.file.startswith(_PREFIX):
            return super().locate(rule)
        name = rule.file.removeprefix(_PREFIX)
        paths = _asked(lambda crds: crds.api.dump_references(self.pmap, [name]))
        return str(paths[name])

    def add(self, references: Iterable[Reference]) -> ReferenceStore:
        """Refuse: references are given to CRDS by its own means."""
        raise InputError(f"{self.url}: nothing can be added to CRDS; name a folder or an S3 prefix")


def open_crds(url: str) -> CrdsStore:
    """Return the store that ``crds`` or ``crds:CONTEXT`` names; MissingReferenceError if it can't be had."""
    asked_for = url.removeprefix(CRDS).removeprefix(":") or None
    pmap = _asked(lambda crds: crds.get_context_name(OBSERVATORY, asked_for))
    return CrdsStore(url, pmap=str(pmap))


def _parameters(
    detector: str, filter_name: str, date: datetime, ma_table: int | None
) -> dict[str, str | int]:
    """Return what CRDS's rules match, under the names they use.

    The exposure's type is that of a spectrum or an image: rules list others with these.
    """
    kind = "WFI_SPECTRAL" if filter_name in SPECTRAL_ELEMENTS else "WFI_IMAGE"
    told: dict[str, str | int] = {
        "ROMAN.META.INSTRUMENT.NAME": "WFI",
        "ROMAN.META.INSTRUMENT.DETECTOR": detector,
        "ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT": filter_name,
        "ROMAN.META.EXPOSURE.TYPE": kind,
        "ROMAN.META.EXPOSURE.START_TIME": f"{date.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
    }
    return told if ma_table is None else {**told, "ROMAN.META.EXPOSURE.MA_TABLE_NUMBER": ma_table}


def _asked(question: Callable[[Any], T]) -> T:
    """Return what CRDS's client answers; MissingReferenceError without client, rules or file."""
    try:
        import crds  # noqa: PLC0415 - optional, and seconds of import
    except ImportError as error:
        raise MissingReferenceError(
            f"references from CRDS need its client ({error}): install nexus-pipeline[crds]"
        ) from error
    try:
        return question(crds)
    except (crds.CrdsError, LookupError, OSError) as error:
        reason = " ".join(str(error).split())
        raise MissingReferenceError(f"CRDS gives nothing ({reason}); {_SETTINGS}") from error
    except SystemExit as error:
        # Its way to say that there is neither a server nor a cache; it has printed more.
        raise MissingReferenceError(f"CRDS has neither server nor cache; {_SETTINGS}") from error
