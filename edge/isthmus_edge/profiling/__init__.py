"""What a network costs on this very device: a kit in, a `DeviceProfile` out.

Networks and prefixes take turns over many rounds, so that whatever else happens on the device
happens to all of them; then the runtime's own profiler says which kernel takes which share.
"""

from isthmus_edge.profiling.config import ProfilingConfig, Progress, silent
from isthmus_edge.profiling.files import partial_of, write_whole
from isthmus_edge.profiling.runner import profile_kit

__all__ = ["ProfilingConfig", "Progress", "partial_of", "profile_kit", "silent", "write_whole"]
