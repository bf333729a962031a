"""The running process: transports, the engine, the services."""

from importlib.metadata import version

__version__ = version("serval-inference")
