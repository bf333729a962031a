"""The wire's functions are compiled into their callers: `serval_kernels.compile` says how, and why."""

from serval_kernels.compile import inlined as inlined
