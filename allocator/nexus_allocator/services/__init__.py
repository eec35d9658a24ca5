"""Use cases, one function each: session first, then keywords."""
