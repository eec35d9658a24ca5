"""Dated calibration inputs in rad's schemas: typed, found by rule, synthetic where none exist."""
