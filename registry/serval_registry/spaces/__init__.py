"""Vectors of versions beside the description: spaces that callers name and fill, and how what lies in them is found."""
