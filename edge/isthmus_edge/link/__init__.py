"""What is known of the network between device and cloud."""

from isthmus_edge.link.estimate import Estimator, LinkEstimate
from isthmus_edge.link.estimator import LinkEstimator

__all__ = ["Estimator", "LinkEstimate", "LinkEstimator"]
