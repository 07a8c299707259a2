"""Real models by name, the pictures to try them on, and preprocessing inside the graph."""

from isthmus_models.catalogue import MODELS, Model, get_model
from isthmus_models.pictures import (
    DemoPicture,
    calibration_pictures,
    demo_pictures,
    evaluation_pictures,
)
from isthmus_models.preprocess import with_picture_input

__all__ = [
    "MODELS",
    "DemoPicture",
    "Model",
    "calibration_pictures",
    "demo_pictures",
    "evaluation_pictures",
    "get_model",
    "with_picture_input",
]
