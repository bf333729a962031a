"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A machine that is busy with something else makes no test fail.
settings.register_profile("serval", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serval")

# Whoever is started in the background or by nohup ignores these, and so do all processes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
