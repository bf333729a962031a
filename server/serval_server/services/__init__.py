"""One servicer per proto service: translate, call, translate back. What carries the calls is not known here."""
