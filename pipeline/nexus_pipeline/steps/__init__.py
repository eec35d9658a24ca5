"""Corrections, one per file: pure functions of a product and references, under romancal's names."""
