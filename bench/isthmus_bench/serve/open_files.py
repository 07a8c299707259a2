"""How many files (sockets, for a bench) a process may have open."""

import resource

ENOUGH = 65_536

__all__ = ["allow_open_files", "open_files_limit"]


def open_files_limit() -> int:
    """The soft limit of this process; at most `ENOUGH`, for none is as good."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else min(soft, ENOUGH)


def allow_open_files() -> int:
    """Raise the soft limit as far as the hard one allows, for this process and those that it starts
    from now on; the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return open_files_limit()
