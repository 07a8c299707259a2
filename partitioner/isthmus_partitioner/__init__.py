"""The partitioner: an ONNX image classifier becomes a profile, a measured plan and a bundle."""

from isthmus_partitioner.bundle import write_bundle
from isthmus_partitioner.config import PictureSets, PlanConfig, Progress
from isthmus_partitioner.graph.network import Network, load_model
from isthmus_partitioner.planning.plan import ModelCard, Plan, make_plan
from isthmus_partitioner.precision.mixed import Quantised, quantise
from isthmus_partitioner.profiles.layers import Profile, profile
from isthmus_partitioner.report.tables import render_plan, render_profile
from isthmus_partitioner.workbench import Workbench

__all__ = [
    "ModelCard",
    "Network",
    "PictureSets",
    "Plan",
    "PlanConfig",
    "Profile",
    "Progress",
    "Quantised",
    "Workbench",
    "load_model",
    "make_plan",
    "profile",
    "quantise",
    "render_plan",
    "render_profile",
    "write_bundle",
]
