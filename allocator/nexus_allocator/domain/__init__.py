"""Rules on plain values; the standard library only."""
