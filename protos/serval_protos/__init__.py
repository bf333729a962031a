"""The contract: serval.v1 and the Open Inference Protocol, with their generated stubs beside them."""
