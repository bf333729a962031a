"""serval."""
