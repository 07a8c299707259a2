"""The model store: versions of bundles in a plain directory, and which of them is active."""

from isthmus_cloud.store.activating import Activation, Activations, stays_active
from isthmus_cloud.store.deployer import Deployed, Deployer
from isthmus_cloud.store.errors import StoreError, StoreFullError, UnknownVersionError
from isthmus_cloud.store.halves import Current, Halves
from isthmus_cloud.store.push import Lacking, Push
from isthmus_cloud.store.reading import Shelves, Verifier
from isthmus_cloud.store.shelf import Shelved, StoredVersion
from isthmus_cloud.store.store import Store, StoreLimits
from isthmus_cloud.store.telling import told

__all__ = [
    "Activation",
    "Activations",
    "Current",
    "Deployed",
    "Deployer",
    "Halves",
    "Lacking",
    "Push",
    "Shelved",
    "Shelves",
    "Store",
    "StoreError",
    "StoreFullError",
    "StoreLimits",
    "StoredVersion",
    "UnknownVersionError",
    "Verifier",
    "stays_active",
    "told",
]
