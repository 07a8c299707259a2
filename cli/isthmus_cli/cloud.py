"""`isthmus cloud`: serve the tails of a bundle, or all models of a store."""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from isthmus import ConfigError
from isthmus_cli.cloud_web import add_web_flags, web_settings
from isthmus_cli.console import drop_output
from isthmus_cli.folders import named_folder
from isthmus_cli.ray_flags import add_ray_flags, ray_settings
from isthmus_cli.telemetry_flags import add_telemetry_flags, trace_settings
from isthmus_cloud import ServiceConfig, run_service
from isthmus_cloud.config import MAX_MESSAGE_BYTES, RANGES
from isthmus_cloud.telemetry.logs import start_logging

DESCRIPTION = """\
Serve the tails of a bundle to devices, or all models of a store, and whole models
to every client of the Open Inference Protocol: checks every file, loads and measures
all tails, prints one line with the address when devices may come, and drains on
SIGTERM or Ctrl-C (a second one forces). SIGHUP looks again which versions of the
store are active; tokens and certificates are read again by themselves. The fastest
provider that ONNX Runtime has here and that agrees with the CPU computes.
"""
EXAMPLES = """\
  isthmus cloud lite0.bundle --listen 127.0.0.1:50051
  isthmus cloud lite0.bundle --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server.key
  isthmus cloud --store models/ --store-key signing-key.pub.pem --tokens tokens.jsonl
  isthmus cloud lite0.bundle --http 127.0.0.1:8080    # a page to look at, and /metrics
  isthmus cloud lite0.bundle --max-batch 1            # each frame by itself
  isthmus cloud lite0.bundle --engine ray --ray-replicas 1:4    # tails in other processes
"""

__all__ = ["DESCRIPTION", "EXAMPLES", "add_arguments", "run"]

Add = Callable[..., argparse.Action]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    defaults = ServiceConfig(bundle=Path())
    parser.set_defaults(parser=parser)
    _add_models(parser)
    _add_door(parser.add_argument_group("who may come in").add_argument, defaults)
    _add_capacity(parser.add_argument_group("how much at once").add_argument, defaults)
    _add_batching(parser.add_argument_group("batches").add_argument, defaults)
    _add_engine(parser.add_argument_group("what computes").add_argument, defaults)
    add_ray_flags(parser)
    _add_times(parser.add_argument_group("times").add_argument, defaults)
    add_telemetry_flags(parser)
    add_web_flags(parser.add_argument_group("the dashboard").add_argument)
    parser.add_argument(
        "--verbose",
        action="store_true",
        help="log every frame; without it, log what happens to "
        "the service: devices that come and go, refusals, versions, pushes",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "bundle",
        type=Path,
        nargs="?",
        metavar="BUNDLE",
        help="directory that `isthmus build` wrote",
    )
    add(
        "--store",
        type=named_folder,
        metavar="DIR",
        help="serve all models of this directory, each in its active version; `isthmus push` fills "
        "it and `isthmus activate` moves versions while devices are served",
    )
    add(
        "--store-key",
        type=Path,
        action="append",
        default=[],
        metavar="PEM",
        help="take only bundles signed with this key (`isthmus keys`); may be given several times",
    )


def _add_door(add: Add, defaults: ServiceConfig) -> None:
    add("--listen", default=defaults.listen, metavar="HOST:PORT", help="port 0 takes a free one")
    add("--tls-cert", type=Path, metavar="PEM", help="certificate of this service")
    add("--tls-key", type=Path, metavar="PEM", help="its key")
    add(
        "--client-ca",
        type=Path,
        metavar="PEM",
        help="let in only callers whose certificate this authority has signed (mutual TLS)",
    )
    add(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="let in only callers with a token of this file (`isthmus tokens`)",
    )
    add("--insecure", action="store_true", help="serve beyond this machine without TLS")
    add(
        "--tokens-in-clear",
        action="store_true",
        help="something else keeps tokens secret on the way where there is no TLS",
    )


def _add_capacity(add: Add, defaults: ServiceConfig) -> None:
    _number(add, "--window", defaults.window, "N", "frames in flight a device")
    _number(add, "--max-streams", defaults.max_streams, "N", "devices that are served at once")
    _number(add, "--max-connections", defaults.max_connections, "N", "connections, whoever it is")
    _number(
        add,
        "--max-waiting",
        defaults.max_waiting,
        "N",
        "frames of all devices that wait; more are refused",
    )
    _number(
        add,
        "--max-bytes-in-flight",
        defaults.max_bytes_in_flight,
        "BYTES",
        "memory for the frames of all devices",
    )
    add(
        "--max-message-bytes",
        type=int,
        metavar="BYTES",
        help="the largest message of any call; frames of devices are held to their bundle besides "
        f"(default {MAX_MESSAGE_BYTES}; of a BUNDLE more where 16 items of one request take more, "
        "within --max-bytes-in-flight, and only what its frames take if it was built with "
        "--no-raw-input)",
    )


def _add_batching(add: Add, defaults: ServiceConfig) -> None:
    _number(
        add,
        "--max-batch",
        defaults.max_batch,
        "N",
        "frames that run together at most, of those that wait; how many pay is measured when a "
        "tail is loaded; 1 runs each by itself",
    )
    add(
        "--linger-ms",
        type=float,
        default=defaults.linger_s * 1e3,
        metavar="MS",
        help="hold a batch back for so long until it is full, as far as deadlines allow (default "
        "%(default)s: a free worker takes what is there)",
    )
    add(
        "--no-joins",
        action="store_true",
        help="do not run frames together that were cut at different depths",
    )
    _number(add, "--workers", defaults.workers, "N", "batches that run at once")
    _number(add, "--decoders", defaults.decoders, "N", "threads that help to decode a batch")


def _add_engine(add: Add, defaults: ServiceConfig) -> None:
    add(
        "--engine",
        default=defaults.engine,
        metavar="ENGINE",
        help="onnxruntime; torch; triton://HOST:PORT for a Triton server that holds what `isthmus "
        "export triton` wrote; python://MODULE:FUNCTION for one of your own; ray for replicas in "
        "other processes and on other machines (default %(default)s)",
    )
    add(
        "--provider",
        default=defaults.provider,
        metavar="NAME",
        help="auto, cpu, cuda, tensorrt, openvino, …; what is named is used or refused (default "
        "%(default)s)",
    )
    add(
        "--threads",
        type=int,
        default=defaults.threads,
        metavar="N",
        help="threads of a batch that runs alone; those that run at once share them, at least one "
        "each (default: all cores)",
    )


def _add_times(add: Add, defaults: ServiceConfig) -> None:
    _seconds(add, "--drain-grace", defaults.drain_grace_s, "to finish in")
    _seconds(
        add,
        "--hello-s",
        defaults.hello_s,
        "within which a connection has to get through its handshakes, and a stream to say Hello",
    )
    _seconds(
        add,
        "--idle-s",
        defaults.idle_s,
        "after which a stream ends on which nothing was heard; a device that has nothing to send "
        "beats about twice a second",
    )
    _seconds(
        add,
        "--resume-s",
        defaults.resume_s,
        "for which the frames of a broken stream go on and their results are kept: a device that "
        "comes back gets them without sending again; 0 keeps none",
    )


def _number(add: Add, flag: str, default: int, metavar: str, text: str) -> None:
    add(flag, type=int, default=default, metavar=metavar, help=f"{text} (default %(default)s)")


def _seconds(add: Add, flag: str, default: float, text: str) -> None:
    add(
        flag,
        type=float,
        default=default,
        metavar="S",
        help=f"seconds {text} (default %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.bundle is not None and options.store is not None:
        options.parser.error("argument --store: not allowed with argument BUNDLE")
    if options.bundle is None and options.store is None:
        options.parser.error("give what is to be served: BUNDLE, or --store DIR")
    _check_numbers(options)
    start_logging(options.log_format, logging.DEBUG if options.verbose else logging.INFO)
    run_service(_configured(options), _announce)
    return 0


def _configured(options: argparse.Namespace) -> ServiceConfig:
    return ServiceConfig(
        bundle=options.bundle,
        store=options.store,
        store_keys=tuple(options.store_key),
        listen=options.listen,
        insecure=options.insecure,
        tls_certificate=options.tls_cert,
        tls_key=options.tls_key,
        client_ca=options.client_ca,
        tokens=options.tokens,
        tokens_in_clear=options.tokens_in_clear,
        window=options.window,
        threads=options.threads,
        workers=options.workers,
        decoders=options.decoders,
        max_batch=options.max_batch,
        linger_s=options.linger_ms / 1e3,
        joins=not options.no_joins,
        max_waiting=options.max_waiting,
        max_bytes_in_flight=options.max_bytes_in_flight,
        max_message_bytes=options.max_message_bytes,
        max_streams=options.max_streams,
        max_connections=options.max_connections,
        drain_grace_s=options.drain_grace,
        web=web_settings(options),
        web_token_file=options.http_token_file,
        traces=trace_settings(options),
        engine=options.engine,
        provider=options.provider,
        ray=ray_settings(options),
        hello_s=options.hello_s,
        idle_s=options.idle_s,
        resume_s=options.resume_s,
    )


def _check_numbers(options: argparse.Namespace) -> None:
    """In the words of the command line; the configuration knows fields."""
    others = {"drain_grace_s": "drain_grace", "linger_s": "linger_ms"}
    for field, (least, most) in RANGES.items():
        name = others.get(field, field)
        value = getattr(options, name, None)
        factor = 1000 if name.endswith("_ms") else 1
        if value is not None and not least * factor <= value <= most * factor:
            flag = name.replace("_", "-")
            raise ConfigError(
                f"--{flag} is {value}; allowed is {least * factor} to {most * factor}"
            )


def _announce(line: str) -> None:
    """Print; that nobody reads it (`| head -1`, a terminal that was closed, a full disk) must not
    keep the service from draining."""
    try:
        print(line, flush=True)
    except OSError:
        drop_output()
