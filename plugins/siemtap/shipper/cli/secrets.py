"""The command `siemtap keystore`: secrets for ${keystore:NAME}."""

from __future__ import annotations

import os
import re
import sys

import click

from ...core.errors import ConfigError
from ...core.manifest import suggest
from ..config.keystore import NAME, Keystore
from .options import CONFIG_FILE

file_option = click.option(
    "-c",
    "--config",
    "file",
    default=CONFIG_FILE,
    show_default=True,
    help="The configuration file; the keystore lies beside it.",
)


@click.group(short_help="Keep secrets encrypted, for ${keystore:NAME}.")
def keystore() -> None:
    """Keep secrets in an encrypted file, siemtap.keystore, beside the configuration file.

    A setting refers to one as ${keystore:NAME}. The password is in the environment variable
    SIEMTAP_KEYSTORE_PASSWORD, or in systemd's credential siemtap_keystore_password.
    """


def _opened(file: str) -> Keystore:
    store = Keystore.beside(file, os.environ)
    try:
        store.read()
    except ConfigError as error:  # in a setting, the sentence goes on after its name
        sentence = error.message.removeprefix("needs the keystore ").removeprefix("needs ")
        raise ConfigError(f"keystore: {sentence}") from None
    return store


@keystore.command(short_help="Create an empty keystore.")
@file_option
@click.option("--force", is_flag=True, help="Replace a keystore, and lose its secrets.")
def create(file: str, force: bool) -> None:
    """Create an empty keystore, readable for its owner alone."""
    store = Keystore.beside(file, os.environ)
    if store.path.exists() and not force:
        raise ConfigError(f"{store.path} exists; --force replaces it, and its secrets are lost")
    store.write({})
    click.echo(f"created: {store.path}")


@keystore.command(short_help="Add a secret.")
@file_option
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the secret from standard input.")
@click.option("--force", is_flag=True, help="Replace a secret of this name.")
def add(file: str, name: str, from_stdin: bool, force: bool) -> None:
    """Ask for the secret NAME without showing it, and add it.

    A running `siemtap run` reads it at the next reload (SIGHUP).
    """
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f'"{name}" is not a name; use at most 64 letters, digits, dots, hyphens and underscores'
        )
    store = _opened(file)
    secrets = store.read()
    if name in secrets and not force:
        raise ConfigError(f"{name} is in {store.path}; --force replaces it")
    if from_stdin:
        try:
            secret = sys.stdin.read().rstrip("\r\n")
        except UnicodeDecodeError:
            raise ConfigError("the secret on standard input is not UTF-8") from None
    else:
        secret = click.prompt(f"Secret {name}", hide_input=True, confirmation_prompt=True)
    if not secret:
        raise ConfigError("the secret is empty; nothing was added")
    store.write({**secrets, name: secret})
    click.echo(f"added: {name}")


@keystore.command("list", short_help="List the names of the secrets.")
@file_option
def list_names(file: str) -> None:
    """List the names of the secrets, not the secrets."""
    for name in sorted(_opened(file).read()):
        click.echo(name)


@keystore.command(short_help="Remove secrets.")
@file_option
@click.argument("names", nargs=-1, required=True)
def remove(file: str, names: tuple[str, ...]) -> None:
    """Remove the secrets NAMES."""
    store = _opened(file)
    secrets = dict(store.read())
    for name in names:
        if name not in secrets:
            raise ConfigError(f"there is no secret {name} in {store.path}{suggest(name, secrets)}")
        del secrets[name]
    store.write(secrets)
    click.echo(f"removed: {', '.join(names)}")


COMMANDS = (keystore,)
