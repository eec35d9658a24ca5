"""What romancal's refpix makes of a ramp, run in the peers' environment: ``oracle_refpix.py IN.npz OUT.npz``.

Coefficients are drawn from the seed given, so that they need not be carried over.
"""

import sys
from types import SimpleNamespace

import numpy as np

ROWS, COLUMNS, CHANNELS, FREQUENCIES = 4096, 4096, 32, 4096 * 140 // 2 + 1
KNOTS = 64


def coefficients(seed: int, scale: float) -> list[np.ndarray]:
    """Return gamma, zeta and alpha (32, frequencies) of random complex numbers."""
    rng = np.random.default_rng(seed)
    size = (3, CHANNELS, KNOTS)
    rough = scale * (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(np.complex64)
    picks = rng.integers(0, KNOTS, FREQUENCIES)
    return [each[:, picks] for each in rough]


def frame(given: dict[str, np.ndarray]) -> np.ndarray:
    """Return the ramp (n, 4096, 4096) of ``bottom``, ``top``, ``left`` and ``right``, flat within."""
    data = np.zeros((len(given["left"]), ROWS, COLUMNS), np.float32)
    data[:] = given["inside"][:, None, None]
    data[:, :4], data[:, -4:] = given["bottom"], given["top"]
    data[:, :, :4], data[:, :, -4:] = given["left"], given["right"]
    return data


def main(source: str, target: str) -> None:
    """Write the correction of some rows, without the border columns."""
    from romancal.refpix.refpix import run_steps  # noqa: PLC0415

    given = dict(np.load(source))
    gamma, zeta, alpha = coefficients(int(given["seed"]), float(given["scale"]))
    before = frame(given)
    dq = np.zeros((ROWS, COLUMNS), np.uint32)
    dq[tuple(given["bad"])] = 1 << 17
    model = SimpleNamespace(data=before.copy(), amp33=given["amp33"].copy(), pixeldq=dq)
    options = dict(zip(given["switches"].tolist(), given["on"].tolist(), strict=True))
    run_steps(model, SimpleNamespace(gamma=gamma, zeta=zeta, alpha=alpha), **options)
    rows = given["rows"]
    np.savez(target, correction=(before - model.data)[:, rows, 4:-4])


if __name__ == "__main__":
    main(*sys.argv[1:])
