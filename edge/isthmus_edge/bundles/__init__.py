"""A device fetches its half of a bundle from a service, and keeps the last good one.

source = Source(model="lite0", cloud="127.0.0.1:50051")
with Agent(fetch(source, into="bundles").path, cloud=source.cloud) as agent:
    ...
"""

from isthmus_edge.bundles.errors import ShelfBusyError, ShelfError, ShelfFullError
from isthmus_edge.bundles.fetching import Fetched, Fetcher, Manner, fetch, kept
from isthmus_edge.bundles.offer import Offer
from isthmus_edge.bundles.service import Bundles, BundleService
from isthmus_edge.bundles.shelf import Kept, Shelf
from isthmus_edge.bundles.source import Source

__all__ = [
    "BundleService",
    "Bundles",
    "Fetched",
    "Fetcher",
    "Kept",
    "Manner",
    "Offer",
    "Shelf",
    "ShelfBusyError",
    "ShelfError",
    "ShelfFullError",
    "Source",
    "fetch",
    "kept",
]
