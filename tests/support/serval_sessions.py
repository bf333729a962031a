"""What is asked of a session whatever it has taken out of its graph."""

import numpy as np


def same_run_and_bound(session, inputs, expected, same):
    """Compare, by `same`, what a session answers with what is expected: in a run, and in a bound one made twice."""
    same(session.run(session.output_names, inputs), expected)
    outputs = [np.zeros_like(output) for output in expected]
    run = session.bind(inputs, dict(zip(session.output_names, outputs, strict=True)))
    for _ in range(2):
        run()
        same(outputs, expected)
