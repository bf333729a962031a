"""Columns to compare, and what Evidently and NannyML say of them: the numbers in others.json come from the real tools.

    python serval_others.py evidently|nannyml OTHERS.json

by a Python that has evidently 0.7.23 or nannyml 0.13.1 (with statsmodels); each fills in its own half of the file.
"""

import json
import sys
from pathlib import Path

import numpy as np


def cases():
    """Return (name, whether numeric, reference, current) of each case; the random numbers are fixed."""
    rng = np.random.default_rng(42)
    found = []
    for n, m in ((400, 250), (3000, 1000), (12000, 900)):
        numbers = {
            "normal": (rng.normal(size=n), rng.normal(0.15, 1.1, m)),
            "lognormal": (rng.lognormal(size=n), rng.lognormal(0.1, 1, m)),
            "few": (rng.integers(0, 4, n).astype(float), rng.choice(4, m, p=[0.3, 0.3, 0.2, 0.2]).astype(float)),
            "two": (rng.integers(0, 2, n).astype(float), (rng.random(m) < 0.55).astype(float)),
            "same": (rng.normal(size=n), rng.normal(size=m)),
        }
        found += [(f"{name}-{n}", True, *pair) for name, pair in numbers.items()]
        colours = rng.choice(list("abcde"), n), rng.choice(list("abcdef"), m, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
        pairs = rng.choice(list("xy"), n), rng.choice(list("xy"), m, p=[0.45, 0.55])
        found += [(f"colour-{n}", False, *colours), (f"pair-{n}", False, *pairs)]
    return found


def evidently(numeric, before, now):
    """Return {method: [method, score, threshold, drifted]} of Evidently's default and of its distances."""
    import pandas as pd
    from evidently.legacy.calculations.stattests import registry
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical if numeric else ColumnType.Categorical
    sides = pd.Series(before), pd.Series(now)
    found = {}
    for name in ("default", "psi", "jensenshannon", *(["wasserstein"] if numeric else [])):
        test = registry.get_stattest(*sides, kind, None if name == "default" else name)
        told = test(*sides, kind, None if name == "default" else 0.1)
        found[name] = [test.name, float(told.drift_score), float(told.actual_threshold), bool(told.drifted)]
    return found


def nannyml(numeric, before, now):
    """Return the same of NannyML, `now` one chunk."""
    import nannyml as tool
    import pandas as pd

    numbers, categories = ["jensen_shannon", "kolmogorov_smirnov", "wasserstein", "hellinger"], ["l_infinity"]
    methods = numbers if numeric else ["jensen_shannon", "hellinger", *categories]
    sides = [pd.DataFrame({"x": side if numeric else pd.Categorical(side)}) for side in (before, now)]
    known = {"continuous_methods" if numeric else "categorical_methods": methods}
    calculator = tool.UnivariateDriftCalculator(column_names=["x"], chunk_number=10, **known)
    calculator.fit(sides[0])
    calculator.chunker = tool.chunk.CountBasedChunker(chunk_number=1)
    told = calculator.calculate(sides[1]).to_df()
    told = told[told[("chunk", "chunk", "period")] == "analysis"].iloc[0]
    fields = ("value", "upper_threshold", "alert")
    values = {method: [told[("x", method, field)] for field in fields] for method in methods}
    return {method: [method, float(a), float(b), bool(c)] for method, (a, b, c) in values.items()}


if __name__ == "__main__":
    tool, path = sys.argv[1], Path(sys.argv[2])
    known = json.loads(path.read_text()) if path.exists() else {}
    known[tool] = {name: globals()[tool](*case) for name, *case in cases()}
    path.write_text(json.dumps(known, indent=1) + "\n")
