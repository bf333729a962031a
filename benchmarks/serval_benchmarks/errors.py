"""What can keep a benchmark from being run. A failed call of a running benchmark is a result, not an error."""


class BenchmarkError(Exception):
    """The benchmark cannot be run as asked; the message names the option or field, what came and what was wanted."""
