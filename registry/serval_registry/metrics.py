"""Metrics as columns: those that most models have lie in columns of their own, indexed; any other is read from the row.

A row's metrics are a JSON object without spaces, so a comma (or the brace) and a quote begin a key and nothing else:
within a text a quote is escaped. That makes a metric of any name comparable in SQL, at the price of reading every row.
"""

import json
from collections.abc import Mapping

from serval_registry.lance import lit

# Names as scikit-learn's scorers have them, shortened as people write them.
INDEXED_METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "average_precision",
    "log_loss",
    "r2",
    "mae",
    "mse",
    "rmse",
    "mape",
    "ndcg",
)


def metric_column(name: str) -> str:
    """Return the column of an indexed metric."""
    return f"metric_{name}"


def metric_columns(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the indexed metrics as columns of a row; None for those that are not given."""
    return {metric_column(name): _number(metrics.get(name)) for name in INDEXED_METRICS}


def metric_sql(name: str) -> str:
    """Return a metric of any name as SQL, null where a row has none. The name is quoted by LanceDB."""
    key = lit(f",{json.dumps(name, ensure_ascii=False)}:").to_sql()
    after = f"split_part(concat(',', substr(metrics, 2)), {key}, 2)"
    return f"cast(nullif(rtrim(split_part({after}, ',', 1), '}}'), '') as double)"


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
