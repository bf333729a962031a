"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A machine that is busy with something else makes no test fail.
settings.register_profile("serval", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serval")
