"""Moved to ``nexus_pipeline.bands``."""

from nexus_pipeline.bands import available_cores, compiled, limit_cores, over_rows

__all__ = ["available_cores", "compiled", "limit_cores", "over_rows"]
