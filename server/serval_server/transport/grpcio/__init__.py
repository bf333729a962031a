"""The reference transport: grpcio's own server."""
