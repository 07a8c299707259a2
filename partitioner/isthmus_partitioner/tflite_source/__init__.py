"""A .tflite file as source model: read, drawn as ONNX, and proved beside LiteRT."""

from isthmus_partitioner.tflite_source.importing import TfliteImport, import_tflite

__all__ = ["TfliteImport", "import_tflite"]
