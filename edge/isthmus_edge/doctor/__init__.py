"""`isthmus doctor`: what this machine has and lacks, each line with the way out."""

from isthmus_edge.doctor.doctor import DoctorConfig, checks, diagnose
from isthmus_edge.doctor.examination import Check, chosen_checks, examine
from isthmus_edge.doctor.finding import Finding, State, Summary, summarise

__all__ = [
    "Check",
    "DoctorConfig",
    "Finding",
    "State",
    "Summary",
    "checks",
    "chosen_checks",
    "diagnose",
    "examine",
    "summarise",
]
