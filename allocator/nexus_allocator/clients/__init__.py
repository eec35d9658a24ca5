"""The outside, one file per system."""
