"""SimpleImputer in ONNX, where the converter of skl2onnx gives up: float64, and texts.

A missing number is NaN, and the column's statistic takes its place. A text is never missing on a server, which refuses
such rows, so that texts pass as they are.
"""

from typing import Any

import numpy as np


def register_imputer() -> None:
    """Teach skl2onnx this form of SimpleImputer; what it does not cover goes to the converter that was there."""
    from skl2onnx import update_registered_converter
    from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
    from sklearn.impute import SimpleImputer

    update_registered_converter(
        SimpleImputer, "ServalSimpleImputer", calculate_sklearn_imputer_output_shapes, _convert, overwrite=True
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
    from skl2onnx.operator_converters.common import concatenate_variables
    from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer

    imputer = operator.raw_operator
    kind = type(operator.inputs[0].type)
    fills_nan = imputer.missing_values is None or imputer.missing_values != imputer.missing_values
    if not fills_nan or imputer.add_indicator or kind not in (DoubleTensorType, StringTensorType):
        convert_sklearn_imputer(scope, operator, container)
        return
    source = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        source = concatenate_variables(scope, operator.inputs, container)
    target = operator.outputs[0].full_name
    if kind is StringTensorType:
        container.add_node("Identity", [source], [target], name=scope.get_unique_operator_name("Identity"))
        return
    fills = np.asarray(imputer.statistics_, np.float64)
    if np.isnan(fills).any():
        raise NotImplementedError("SimpleImputer drops columns in which every value was missing")
    missing, filling = scope.get_unique_variable_name("missing"), scope.get_unique_variable_name("filling")
    container.add_initializer(filling, 11, [1, len(fills)], fills)  # 11: float64
    container.add_node("IsNaN", [source], [missing], name=scope.get_unique_operator_name("IsNaN"))
    container.add_node("Where", [missing, filling, source], [target], name=scope.get_unique_operator_name("Where"))
