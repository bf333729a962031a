"""Gates, requests, stages, names, lineage, comparison, cards and the audit log: their calls, answers and methods."""
