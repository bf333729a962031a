"""Similarity of vectors."""
