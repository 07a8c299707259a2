"""What the device half costs: install size, import time."""

from isthmus_bench.edge.install import EdgeExtra, Install, InstallError, PackageSize, installed

__all__ = ["EdgeExtra", "Install", "InstallError", "PackageSize", "installed"]
