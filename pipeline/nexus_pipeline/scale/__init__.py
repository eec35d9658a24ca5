"""The same recipes over many exposures."""
