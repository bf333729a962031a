"""What carries calls. Every transport takes the same servicers by the same generated functions."""
