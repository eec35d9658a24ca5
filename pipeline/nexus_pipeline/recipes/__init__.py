"""Ordered steps and the references they need; how they run is the runner's."""
