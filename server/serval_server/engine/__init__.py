"""Routing, loading and running models. Arrays come in and arrays go out; nothing here knows what carried them."""
