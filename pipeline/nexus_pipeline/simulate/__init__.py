"""The simulator: a source catalogue to the ramps the spacecraft would send."""
