"""What can go wrong between a fitted model and its ONNX form."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serval_client.export.parity import Parity

FOREIGN_TEXT_MAX = 500  # converters quote whole graphs: one message was 47,126 characters long


class ExportError(Exception):
    """Base of every error of an export; on its own: the model or the sample is not something that can be exported."""


class NotConvertible(ExportError):
    """No converter for a part of the model; `class_name` is the part."""

    def __init__(self, class_name: str, reason: str) -> None:
        super().__init__(f"{class_name} cannot be converted to ONNX: {reason}")
        self.class_name = class_name


class ConversionTimeout(ExportError):
    """The conversion was ended by its time limit."""

    def __init__(self, class_name: str, seconds: float) -> None:
        super().__init__(f"conversion of {class_name} did not end within {seconds:g} s")
        self.class_name = class_name
        self.seconds = seconds


class ExportRefused(ExportError):
    """The conversion gave a model that does not answer as the original does; `parity`: by how much, where measured."""

    def __init__(self, reason: str, parity: "Parity | None" = None) -> None:
        super().__init__(reason)
        self.parity = parity


def shortened(text: str) -> str:
    """Return a foreign text on one line, at most FOREIGN_TEXT_MAX characters long, without XGBoost's stack."""
    line = " ".join(text.partition("\nStack trace:")[0].split())
    return line if len(line) <= FOREIGN_TEXT_MAX else line[: FOREIGN_TEXT_MAX - 3] + "..."
