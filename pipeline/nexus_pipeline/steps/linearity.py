"""linearity: from what the detector counted to what fell on it, read by read.

Takes and leaves a working ramp (DN, offsets removed); saturated resultants stay as they are.
A resultant is a mean of reads, and the mean of a curve is not the curve of the mean: the reads are told
from the ramp's own rate through the inverse polynomial, moved to the mean that was measured,
corrected one by one for the converter's integral non-linearity and by the polynomial, and averaged
again (stcal 1.20). Three nodes of a Gaussian quadrature stand for the reads of a resultant: as good as all
of them for any polynomial of fifth degree.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import over_rows
from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.ma_table import MATable
from nexus_pipeline.instrument.wfi import CHANNEL_WIDTH
from nexus_pipeline.products.model import WorkingRamp
from nexus_pipeline.references.kinds import (
    IntegralNonlinearityReference,
    InverseLinearityReference,
    LinearityReference,
)
from nexus_pipeline.steps.checks import require_detector, require_shape
from nexus_pipeline.steps.linearity_kernels import MAX_NODES, correct_rows

_NO_LIN_CORR: Final = np.uint32(DQ.NO_LIN_CORR)

Floats = NDArray[np.float32]


def correct(
    ramp: WorkingRamp,
    linearity: LinearityReference,
    inverse: InverseLinearityReference,
    inl: IntegralNonlinearityReference,
    *,
    every_read: bool = False,
    integral: bool = True,
) -> WorkingRamp:
    """Return ``ramp`` in linear DN.

    Pixels without finite polynomials get NO_LIN_CORR and stay as they are, results beyond a million
    DN get DO_NOT_USE. ``every_read`` takes the reads themselves for the nodes; unless ``integral`` the
    integral non-linearity is left in. Raises MismatchedReferenceError.
    """
    for reference in (linearity, inverse, inl):
        require_detector(reference, ramp.meta.detector)
    for polynomial in (linearity, inverse):
        require_shape(polynomial.coefficients, ramp.data.shape, polynomial)
    table = ramp.meta.ma_table
    nodes, weights = reads(table) if every_read else quadrature(table)
    correction = inl.on_every_dn if integral else np.zeros((len(inl.correction), 1, 2), np.float32)
    data, flags = np.empty_like(ramp.data), ramp.resultant_dq.copy()
    dq = ramp.dq | ((linearity.dq | inverse.dq) & _NO_LIN_CORR)

    def work(first: int, last: int) -> None:
        correct_rows(
            ramp.data, linearity.coefficients, inverse.coefficients, correction, nodes, weights,
            table.mean_times_s / table.read_time_s, CHANNEL_WIDTH, flags, dq, data, first, last,
        )  # fmt: skip

    over_rows(work, data.shape[1])
    return replace(ramp, data=data, dq=dq, resultant_dq=flags)


def reads(table: MATable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the reads of each resultant and their weights, (n_resultants, n_nodes), padded with weight 0."""
    return _padded(
        [(np.array(each, float), np.full(len(each), 1 / len(each))) for each in table.read_pattern]
    )


def quadrature(table: MATable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As ``reads`` with at most three nodes: the Gaussian rule of each resultant's own reads."""
    return _padded([_gauss(np.array(each, float)) for each in table.read_pattern])


def _gauss(at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights of the rule that a mean over ``at`` has (Golub & Welsch 1969)."""
    n = min(len(at), MAX_NODES)
    alpha, beta = np.zeros(n), np.zeros(n)
    before, now = np.zeros(len(at)), np.full(len(at), len(at) ** -0.5)
    for k in range(n):
        alpha[k] = now @ (at * now)
        rest = (at - alpha[k]) * now - (beta[k - 1] * before if k else 0)
        beta[k] = np.linalg.norm(rest)
        before, now = now, rest / (beta[k] or 1.0)
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))
    return values, vectors[0] ** 2


def _padded(
    rules: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = max(len(nodes) for nodes, _ in rules)
    nodes, weights = np.zeros((len(rules), n)), np.zeros((len(rules), n))
    for i, (at, weight) in enumerate(rules):
        nodes[i, : len(at)], weights[i, : len(at)] = at, weight
    return nodes, weights
