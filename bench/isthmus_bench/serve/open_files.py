"""How many files (sockets, for a bench) a process may have open."""

import resource

__all__ = ["allow_open_files", "open_files_limit"]


def open_files_limit() -> int:
    """The soft limit of this process."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def allow_open_files() -> int:
    """Raise the soft limit to the hard one, for this process and those that it starts from now on;
    the new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
