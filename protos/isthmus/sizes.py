"""Bytes for people."""

__all__ = ["size_text"]


def size_text(size_bytes: int) -> str:
    """With the decimal unit that fits: "80 B", "14.3 KB", "1.2 MB", "3.4 GB"; never 0 for some."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    for unit_bytes, unit in ((1e3, "KB"), (1e6, "MB")):
        if size_bytes / unit_bytes < 999.95:  # what is not shown as 1000.0
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes / 1e9:.1f} GB"
