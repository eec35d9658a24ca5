"""Random numbers for compiled kernels: one independent stream per (seed, effect, row).

xoshiro256++ seeded by splitmix64 (Blackman & Vigna 2021). A row's numbers do not depend on which
thread draws them or how many there are, and turning one effect off leaves the others as they were.
"""

from enum import IntEnum
from math import cos, exp, floor, lgamma, log, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from nexus_pipeline.bands import compiled

State = NDArray[np.uint64]


class Effect(IntEnum):
    """What a stream of random numbers is drawn for."""

    POISSON = 1
    READ_NOISE = 2
    RESET = 3
    COSMIC_RAYS = 4
    ELECTRONICS = 5
    AMP33 = 6
    COUPLING = 7
    PINK_NOISE = 8
    SNOWBALLS = 9
    PERSISTENCE = 10
    IDEAL = 20
    POINTING = 30
    BAD_PIXELS = 40
    CHANNEL_NOISE = 50


def generator(seed: int, effect: Effect) -> np.random.Generator:
    """Return numpy's generator for an effect drawn outside the kernels."""
    return np.random.default_rng([seed, int(effect)])


@compiled
def start(seed: int, effect: int, row: int, state: State) -> None:
    """Seed ``state`` (4 × uint64) in place."""
    z = np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
    z ^= (np.uint64(effect) << np.uint64(40)) ^ np.uint64(row + 1)
    for i in range(4):
        z += np.uint64(0x9E3779B97F4A7C15)
        m = z
        m = (m ^ (m >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        m = (m ^ (m >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state[i] = m ^ (m >> np.uint64(31))


@compiled
def bits(state: State) -> np.uint64:
    """Return the next 64 random bits."""
    total = state[0] + state[3]
    result: np.uint64 = ((total << np.uint64(23)) | (total >> np.uint64(41))) + state[0]
    t = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return result


@compiled
def uniform(state: State) -> float:
    """Return a number in (0, 1)."""
    return (float(bits(state) >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16


@compiled
def normal_pair(state: State, pair: NDArray[np.float64]) -> None:
    """Write two standard normal numbers into ``pair`` (Box and Muller)."""
    radius = sqrt(-2.0 * log(uniform(state)))
    angle = 2.0 * pi * uniform(state)
    pair[0], pair[1] = radius * cos(angle), radius * sin(angle)


@compiled
def poisson(state: State, mean: float, exp_minus_mean: float) -> float:
    """Return a Poisson number; below 10 by inversion, above by Hörmann's PTRS (1993)."""
    if mean <= 0.0:
        return 0.0
    if mean < 10.0:
        u, k, p = uniform(state), 0.0, exp_minus_mean
        while u > p and k < 200.0:
            u -= p
            k += 1.0
            p *= mean / k
        return k
    b = 0.931 + 2.53 * sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u, v = uniform(state) - 0.5, uniform(state)
        us = 0.5 - abs(u)
        k = floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or (us < 0.013 and v > us):
            continue
        accept = log(v * inverse_alpha / (a / (us * us) + b))
        if accept <= -mean + k * log(mean) - lgamma(k + 1.0):
            return k


@compiled
def exponential_of(mean: float) -> float:
    """Return exp(-mean) where ``poisson`` will need it."""
    return exp(-mean) if mean < 10.0 else 0.0
