"""Runs a command until it ends or this process's stdin does: a child that goes with its parent,
however that one ends. It is run as a file, so that it imports nothing and is small.

python own_node.py COMMAND...
"""

import os
import signal
import subprocess
import sys
import threading

END_WITHIN_S = 8.0  # then it is killed


def main() -> int:
    """Its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    try:
        threading.Thread(target=_end_with_stdin, args=[command], daemon=True).start()
        return command.wait()
    finally:
        _end(command)


def _end_with_stdin(command: "subprocess.Popen[bytes]") -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    _end(command)


def _end(command: "subprocess.Popen[bytes]") -> None:
    command.terminate()
    try:
        command.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        command.kill()


if __name__ == "__main__":
    sys.exit(main())
