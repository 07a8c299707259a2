"""docs/security.md: its commands work, as they stand there, and its limits are the real ones."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from tests.cloud.device import Head
from tests.cloud.security.probe import bearer, calling
from tests.commands import Cloud

from isthmus import Bundle
from isthmus.v1 import split_pb2 as pb
from isthmus_cli import cloud as cloud_verb
from isthmus_cli import tokens as tokens_verb
from isthmus_cloud.security.tokens import decode_tokens

TEXT = (Path(__file__).parents[3] / "docs/security.md").read_text(encoding="utf-8")


def block_after(heading: str, language: str) -> str:
    """The first block of this language in a section."""
    section = TEXT.partition(f"\n## {heading}\n")[2]
    return section.partition(f"```{language}\n")[2].partition("```")[0]


def rows_of(heading: str) -> list[list[str]]:
    """The cells of its table, without the headline."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def parser_of(add_arguments: object) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    assert callable(add_arguments)
    add_arguments(parser)
    return parser


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands of the page were run."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    commands = block_after("Certificates", "sh")
    subprocess.run(["sh", "-e", "-c", commands], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def pem(certificates: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in certificates.iterdir()}


async def test_with_these_certificates_and_a_token_a_device_is_served(
    certificates: Path,
    pem: dict[str, bytes],
    tiny_bundle: Path,
    bundle: Bundle,
    head: Head,
    tmp_path: Path,
) -> None:
    """And without the token, without the certificate, or once it was revoked, it is not."""
    tokens = tmp_path / "tokens.jsonl"
    out = tmp_path / "camera-7.token"
    parser = parser_of(tokens_verb.add_arguments)

    def told(*words: str) -> None:
        tokens_verb.run(parser.parse_intermixed_args([*words, "--file", str(tokens)]))

    told("add", "camera-7", "--out", str(out))
    token = bearer(out.read_text().strip())
    mine = grpc.ssl_channel_credentials(pem["ca.pem"], pem["camera-7.key"], pem["camera-7.pem"])
    nobodys = grpc.ssl_channel_credentials(pem["ca.pem"])
    flags = ("--tls-cert", "server.pem", "--tls-key", "server.key", "--client-ca", "ca.pem")
    paths = [word if word[:2] == "--" else certificates / word for word in flags]
    with Cloud(tiny_bundle, "127.0.0.1:0", *paths, "--tokens", tokens) as cloud:
        async with calling(cloud.address, mine, token) as device:
            await device.hello(bundle.fingerprint)
            await device.send(frame=head.frame("cut-16"))
            await device.result()
            told("revoke", "camera-7")
            sequence = 1
            while True:
                sequence += 1
                await device.send(frame=head.frame("cut-16", sequence))
                message = await device.receive()
                if message.WhichOneof("kind") == "error":
                    break
            assert message.error.code == pb.ERROR_CODE_DENIED
        async with calling(cloud.address, mine, token) as device:
            assert await device.broken_off() is grpc.StatusCode.UNAUTHENTICATED
        async with calling(cloud.address, mine) as device:
            assert await device.broken_off() is grpc.StatusCode.UNAUTHENTICATED
        async with calling(cloud.address, nobodys, token) as device:
            assert await device.broken_off() is grpc.StatusCode.UNAVAILABLE


def test_the_example_of_a_tokens_file_is_one() -> None:
    example = block_after("Tokens", "json")
    whole = re.sub(r'"([0-9a-f]{4})…"', lambda found: f'"{found[1] * 16}"', example)
    entries = decode_tokens(whole.encode(), "the page")
    assert [entry.name for entry in entries] == ["camera-7", "anna", "gate", "camera-3"]


def test_defaults_and_flags_of_the_table_are_those_of_the_command() -> None:
    parser = parser_of(cloud_verb.add_arguments)
    defaults = {flag: act.default for act in parser._actions for flag in act.option_strings}
    checked = set()
    for what, default, flag, _ in rows_of("Limits"):
        name = flag.strip("`")
        if not name.startswith("--") or "`" in default:
            continue
        numbers = [float(number) for number in re.findall(r"[\d.]+", default)]
        assert defaults[name] in numbers, what
        checked.add(name)
    assert len(checked) == 8


def test_every_flag_on_the_page_exists() -> None:
    known = set(parser_of(cloud_verb.add_arguments)._option_string_actions)
    known |= set(parser_of(tokens_verb.add_arguments)._option_string_actions)
    known |= {"--cloud", "--tls-ca", "--token-file"}  # of `isthmus edge`
    known |= {"--no-deps", "--requirement", "--help"}  # of pip-audit, and everybody's
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert named - known == set()
