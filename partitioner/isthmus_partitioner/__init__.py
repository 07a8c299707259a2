"""The partitioner: an ONNX network becomes a profile, a measured plan and a bundle."""

from isthmus_partitioner.bundle import write_bundle
from isthmus_partitioner.config import PlanConfig, Progress
from isthmus_partitioner.graph.network import Network, load_model
from isthmus_partitioner.planning.constraints import Goals, InfeasibleError
from isthmus_partitioner.planning.listing import ModelCard
from isthmus_partitioner.planning.records import Plan
from isthmus_partitioner.profiles.profile import Profile
from isthmus_partitioner.report.tables import render_plan, render_profile
from isthmus_partitioner.samples import Samples, SampleSets
from isthmus_partitioner.workbench import Devices, Workbench

__all__ = [
    "Devices",
    "Goals",
    "InfeasibleError",
    "ModelCard",
    "Network",
    "Plan",
    "PlanConfig",
    "Profile",
    "Progress",
    "SampleSets",
    "Samples",
    "Workbench",
    "load_model",
    "render_plan",
    "render_profile",
    "write_bundle",
]
