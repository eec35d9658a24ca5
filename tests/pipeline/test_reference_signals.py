"""The mission's IRRC from border and amp33 alone, against romancal itself."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support import oracle, oracle_refpix

from nexus_pipeline.instrument.dq import DQ
from nexus_pipeline.instrument.wfi import N_PIXELS
from nexus_pipeline.products.model import BorderPixels
from nexus_pipeline.steps.reference_signals import reference_signals
from nexus_pipeline.steps.refpix_filter import filtered

SWITCHES = ("remove_offset", "remove_trends", "cosine_interpolate", "fft_interpolate")
N = N_PIXELS
ROWS = np.array([4, 5, 6, 700, 2048, 3333, N - 6, N - 5])


def exposure(seed: int) -> dict[str, Any]:
    """Return edges and amp33 of two resultants: 5 DN of noise around 300 DN, a slope, offsets by channel."""
    rng = np.random.default_rng(seed)
    rows, channels = np.arange(N)[:, None] * 2e-3, np.repeat(rng.normal(0, 20, 32), 128)
    whole = {
        "left": rng.normal(300, 5, (2, N, 4)) + rows,
        "right": rng.normal(300, 5, (2, N, 4)) + rows,
        "bottom": rng.normal(300, 5, (2, 4, N)) + channels,
        "top": rng.normal(300, 5, (2, 4, N)) + channels + 8,
        "amp33": rng.normal(300, 5, (2, N, 128)) + 2 * rows,
    }
    kinds = {name: np.uint16 if name == "amp33" else np.float32 for name in whole}
    edges = {name: np.rint(values).astype(kinds[name]) for name, values in whole.items()}
    for name, here, there in (("bottom", np.s_[:, :], np.s_[:, :4]), ("top", np.s_[:, :], np.s_[:, -4:])):
        edges[name][here][:, :, :4] = edges["left"][there]
        edges[name][here][:, :, -4:] = edges["right"][there]
    return edges


def border_of(edges: dict[str, Any], bad: NDArray[np.int64]) -> BorderPixels:
    dq = np.zeros((N, N), np.uint32)
    dq[tuple(bad)] = DQ.BAD_REF_PIXEL
    edge = {"left": dq[:, :4], "right": dq[:, -4:], "bottom": dq[:4], "top": dq[-4:]}
    flags = {f"dq_{name}": plane for name, plane in edge.items()}
    return BorderPixels(**{name: edges[name] for name in edge}, **flags)


@pytest.mark.parametrize("off", [(), SWITCHES])
def test_the_correction_is_romancals_on_random_coefficients(off: tuple[str, ...]) -> None:
    edges, seed, scale = exposure(71), 72, 0.05
    # Pixels hit, warm or dead: in the left and right columns, in the end rows, in a corner.
    bad = np.array([[100, 2000, 1, N - 2, 0], [2, N - 3, 900, 3000, 0]])
    edges["left"][:, 100, 2] = edges["right"][:, 2000, 1] = edges["bottom"][:, 1, 900] = 40_000
    options = {name: name not in off for name in SWITCHES}
    given = {"seed": seed, "scale": scale, "inside": np.float32([1000, 1100]), "bad": bad, "rows": ROWS}
    switches = {"switches": np.array(SWITCHES), "on": np.array(list(options.values()))}
    theirs = oracle.romancal_refpix(**edges, **given, **switches)["correction"]
    signals = reference_signals(border_of(edges, bad), edges["amp33"], **options)
    gamma, zeta, alpha = oracle_refpix.coefficients(seed, scale)
    ours = filtered(signals, (gamma, zeta, alpha))[:, ROWS, 4:-4]
    assert theirs.std() > 1
    worst = np.abs(ours - theirs).max()
    print(f"without {off}: worst {worst:.2e} DN of a correction of {theirs.std():.1f} DN rms")
    assert worst < 0.01
