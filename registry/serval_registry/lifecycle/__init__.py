"""The life of a version: stages, requests and gates, history, names, lineage, comparison, cards, and the audit log."""
