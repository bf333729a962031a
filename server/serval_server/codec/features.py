"""The columns that a model takes: as the caller named them, or from the shapes of its inputs."""

from collections.abc import Sequence

from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Feature, FeatureKind, Signature, TensorSpec

COLUMNS_MAX = 10_000


def features_of(named: Sequence[Feature], signature: Signature) -> tuple[Feature, ...]:
    """Return every column of every input exactly once, in the caller's order or else in the signature's.

    Empty for a model whose inputs are not columns: any of another rank than [rows] or [rows, width].
    """
    places = _places(signature.inputs)
    if not named:
        return tuple(places.values())
    if not places:
        raise InvalidArgument("header.features: came for a model whose inputs are not columns; wanted none")
    names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    for index, feature in enumerate(named):
        field = f"header.features[{index}]"
        place = (feature.input, feature.column)
        if place not in places:
            raise InvalidArgument(f"{field}: the model has no column {feature.column} in an input {feature.input!r}")
        if place in seen or feature.name in names:
            raise InvalidArgument(f"{field}: {feature.name[:80]!r} or its column comes twice")
        holds = places[place].kind
        if feature.kind is not holds and (feature.kind, holds) != (FeatureKind.FLAG, FeatureKind.NUMERIC):
            raise InvalidArgument(f"{field}: {feature.name[:80]!r} is {feature.kind}, its input holds {holds}")
        names.add(feature.name)
        seen.add(place)
    if len(seen) != len(places):
        left = [f"{name}[{column}]" for name, column in places if (name, column) not in seen]
        raise InvalidArgument(f"header.features: {len(left)} columns are not named, such as {', '.join(left[:5])}")
    return tuple(named)


def named_after(names: Sequence[str], signature: Signature) -> tuple[Feature, ...]:
    """Return the columns of a model's only input under the names of a sample's columns, in order.

    None where these are not as many, not different, or some of them the names that the columns have by themselves.
    """
    places = _places(signature.inputs)
    own = {feature.name for feature in places.values()}
    if len(signature.inputs) != 1 or len(names) != len(places) or len(set(names)) < len(names) or own & set(names):
        return ()
    return tuple(
        Feature(name, feature.kind, feature.input, feature.column)
        for name, feature in zip(names, places.values(), strict=True)
    )


def _places(inputs: Sequence[TensorSpec]) -> dict[tuple[str, int], Feature]:
    """Return the default feature of each place (input, column); empty where inputs have none, or too many."""
    places: dict[tuple[str, int], Feature] = {}
    widths = [_width(spec) for spec in inputs]
    if None in widths or sum(width or 0 for width in widths) > COLUMNS_MAX:
        return {}
    for spec, width in zip(inputs, widths, strict=True):
        for column in range(width or 0):
            name = spec.name if width == 1 else f"{spec.name}_{column}"
            places[spec.name, column] = Feature(name, _kind(spec.datatype), spec.name, column)
    return places


def _width(spec: TensorSpec) -> int | None:
    if len(spec.shape) == 1:
        return 1
    if len(spec.shape) == 2 and spec.shape[1] > 0:
        return spec.shape[1]
    return None


def _kind(datatype: DataType) -> FeatureKind:
    match datatype:
        case DataType.STRING:
            return FeatureKind.TEXT
        case DataType.BOOL:
            return FeatureKind.FLAG
        case _:
            return FeatureKind.NUMERIC
