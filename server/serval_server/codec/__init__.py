"""Between messages and arrays, both ways. Nothing here runs a model."""
