from types import SimpleNamespace

import pytest
from serval_protos.v1 import drift_pb2
from serval_registry.registry import Registry
from serval_server.services.drift import DriftServicer
from serval_watched import register


class Aborted(Exception):
    pass


def abort(code, details):
    raise Aborted(code.name, details)


def test_a_server_that_does_not_monitor_says_so(tmp_path):
    with Registry.open(tmp_path) as registry:
        register(registry)
        servicer = DriftServicer(registry, None)
        with pytest.raises(Aborted) as raised:
            servicer.GetDrift(drift_pb2.GetDriftRequest(model="people"), SimpleNamespace(abort=abort))
    assert raised.value.args[0] == "FAILED_PRECONDITION"
    assert "--no-monitor" in raised.value.args[1]
