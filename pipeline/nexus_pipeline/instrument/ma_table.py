"""Multi-accumulation tables: which reads make up which resultant, and when."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.instrument.wfi import READ_TIME_S


@dataclass(frozen=True)
class MATable:
    """Reads, numbered from 1, averaged on board into resultants; read ``k`` ends ``k × read_time_s``."""

    name: str
    number: int
    read_pattern: tuple[tuple[int, ...], ...]
    read_time_s: float = READ_TIME_S

    def __post_init__(self) -> None:
        flat = [read for resultant in self.read_pattern for read in resultant]
        if not flat or any(not resultant for resultant in self.read_pattern):
            raise ValueError(f"MA table {self.name}: a resultant without reads")
        if flat[0] < 1 or any(b <= a for a, b in pairwise(flat)):
            raise ValueError(f"MA table {self.name}: reads must count upwards from 1, got {flat}")

    @property
    def n_resultants(self) -> int:
        return len(self.read_pattern)

    @property
    def n_reads(self) -> int:
        """Reads up to the last one used; those skipped on the way count too."""
        return self.read_pattern[-1][-1]

    @property
    def reads_per_resultant(self) -> NDArray[np.int64]:
        return np.array([len(reads) for reads in self.read_pattern], dtype=np.int64)

    @property
    def mean_times_s(self) -> NDArray[np.float64]:
        """Mean time of the reads of each resultant (Casertano 2022, t̄)."""
        return np.array([np.mean(reads) for reads in self.read_pattern]) * self.read_time_s

    @property
    def variance_times_s(self) -> NDArray[np.float64]:
        """Poisson variance of each resultant over the flux (Casertano 2022, equation 14, τ)."""
        return np.array([_tau(reads) for reads in self.read_pattern]) * self.read_time_s

    @property
    def exposure_time_s(self) -> float:
        """Time from the reset to the end of the last read."""
        return self.n_reads * self.read_time_s

    @property
    def effective_exposure_time_s(self) -> float:
        """Time between the midpoints of the first and last resultant (rad 1.1, ``meta.exposure``)."""
        times = self.mean_times_s
        return float(times[-1] - times[0])


def _tau(reads: tuple[int, ...]) -> float:
    n = len(reads)
    return sum((2 * (n - k) - 1) * read for k, read in enumerate(reads)) / n**2


def _consecutive(*lengths: int) -> tuple[tuple[int, ...], ...]:
    pattern, first = [], 1
    for length in lengths:
        pattern.append(tuple(range(first, first + length)))
        first += length
    return tuple(pattern)


# Patterns: romanisim 0.14 ``parameters.read_pattern`` 3 and 4 (MA tables, revision F).
IMAGING: Final = MATable("C2A_IMG_HLWAS", 4, _consecutive(1, 1, 2, 5, 8, 8, 8, 10, 1))
"""9 resultants of 44 reads in 139 s: the table of the wide-area imaging survey."""
SHORT_IMAGING: Final = MATable("C1_IMG_SHORT", 3, _consecutive(1, 2, 6, 8, 1))
"""5 resultants of 18 reads in 57 s."""

MA_TABLES: Final = {table.number: table for table in (SHORT_IMAGING, IMAGING)}
