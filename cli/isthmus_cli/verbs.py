"""The command line's table of contents: a verb is loaded only when it is called.

A device that has only `isthmus[edge]` installed can run `isthmus edge` without the tools that
`isthmus build` needs.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Protocol, cast

__all__ = ["Verb", "chosen_verb"]


class Verb(Protocol):
    """What a verb's module offers."""

    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare flags and arguments."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it; the exit status."""
        ...


# verb: (one line of help, the extra it needs)
VERBS = {
    "demo": ("the whole loop on a real network, real pictures and a link that changes", "all"),
    "profile": (
        "measure an ONNX model on this machine, layer by layer, fp32 and int8",
        "partitioner",
    ),
    "plan": ("find the cuts that are best somewhere, and measure them", "partitioner"),
    "build": ("write the bundle that a device and the cloud run", "partitioner"),
    "inspect": ("show what a bundle is, and whether it is whole", "partitioner"),
    "report": ("write a bundle's plan as a page to look at, with sliders", "partitioner"),
    "cloud": ("serve the tails of a bundle", "cloud"),
    "export": ("write a bundle's tails for other servers to run (Triton, Ray Serve)", "cloud"),
    "tokens": ("who may come in to a service: add, rotate, revoke, list", "cloud"),
    "push": ("put a bundle into the model store of a service, or of a folder", "cloud"),
    "list": ("what is in a model store, what is active, and who is on it", "cloud"),
    "activate": ("give new devices this version of a model", "cloud"),
    "rollback": ("back to the version that was active before", "cloud"),
    "remove": ("take a version out of a model store", "cloud"),
    "keys": ("make keys, sign bundles with them, see whose a bundle is", "signing"),
    "edge": (
        "answer pictures with a bundle, once or as a daemon; `edge status`, `edge profile`",
        "edge",
    ),
    "fetch": ("have a device's half of a bundle from a service, as `edge` runs it", "edge"),
    "doctor": (
        "what this machine has and lacks to run or serve a bundle, and the way out",
        "edge",
    ),
    "bench": ("measure again what the documentation says", "bench,wire-bench"),
}
# Verbs of two words; what has the name of the second word goes by `./profile`.
SUBVERBS = {"edge": ("profile", "status", "check")}


def chosen_verb(arguments: Sequence[str] | None = None) -> Callable[[], int]:
    """Load the verb that is called; the answer does it and returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = _verb_of(given)
    try:
        verb = cast(Verb, import_module(f"isthmus_cli.{name.replace(' ', '_')}"))
    except ModuleNotFoundError as error:
        return partial(_complain, name, f"{error.name} is not installed; {_install(name)}")
    return partial(_run, name, verb, given[len(name.split()) :])


def _run(name: str, verb: Verb, arguments: list[str]) -> int:
    from isthmus import IsthmusError  # noqa: PLC0415 (every verb has loaded it by now)
    from isthmus_cli.console import drop_output  # noqa: PLC0415 (which loads it, too)

    parser = argparse.ArgumentParser(
        prog=f"isthmus {name}",
        description=verb.DESCRIPTION,
        epilog=f"examples:\n{verb.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_arguments(parser)
    try:
        return verb.run(parser.parse_intermixed_args(arguments))
    except IsthmusError as error:
        return _complain(name, str(error))
    except BrokenPipeError:
        drop_output()  # whoever read it has gone (`isthmus … | head`): leave quietly
        return 1


def _verb_of(given: list[str]) -> str:
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="isthmus",
        description="Cut an ONNX model between a device and the cloud, and run it there.",
        epilog="verbs:\n"
        + "\n".join(f"  {name:<{width}}  {help_}" for name, (help_, _) in VERBS.items())
        + "\n\n`isthmus VERB --help` explains a verb. New here? `isthmus demo` shows everything.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print it and end")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="what to do, see below")
    verb = str(parser.parse_args(given[:1]).verb)
    return f"{verb} {given[1]}" if given[1:] and given[1] in SUBVERBS.get(verb, ()) else verb


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415 (slower than all else in here)

        print(f"isthmus {version('isthmus')}")
        parser.exit()


def _install(name: str) -> str:
    return (
        f"install what this verb needs: pip install 'isthmus[{VERBS[name.partition(' ')[0]][1]}]'"
    )


def _complain(name: str, message: str) -> int:
    sys.stderr.write(f"isthmus {name}: {message}\n")
    return 1
