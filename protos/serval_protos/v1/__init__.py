"""serval.v1: predictions, the registry, drift."""
