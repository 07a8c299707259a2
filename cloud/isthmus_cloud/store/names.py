"""What may name a model, a version or a file in the store; the device goes by the same rules."""

from isthmus.bundle_names import check_files, check_name, is_fingerprint, is_name

__all__ = ["check_files", "check_name", "is_fingerprint", "is_name"]
