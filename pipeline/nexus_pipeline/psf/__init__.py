"""Effective PSFs: a grid over the detector, sampled and fitted at sub-pixel positions."""
