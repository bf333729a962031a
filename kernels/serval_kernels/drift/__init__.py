"""Drift: how one sample differs from another."""
