"""How each operation of TFLite is drawn in ONNX; one module for each family."""
