"""What the REST handlers of the configuration and input pages do beside saving: test an account's
login, reset an input, delete checkpoints and tokens."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import Dict, List, Mapping, Set
from urllib.parse import urlsplit

from splunklib.binding import HTTPError

from ...core.errors import ConfigError, SiemtapError
from ...core.manifest import fill_in, kind_of
from ...core.model import Plugin
from ...core.windows import SECOND
from ...edge.client.http import connect
from .names import account_settings
from .parameters import check_interval
from .splunkd import MASK, Splunkd, error_summary, parse_values
from .stored.checkpoints import KvCheckpoints
from .stored.tokens import TokenPasswords

TEST_TIMEOUT = 15 * SECOND  # of a call to the vendor; the page itself waits half a minute


def account_error(plugin: Plugin, splunkd: Splunkd, name: str, values: Mapping[str, str]) -> str:
    """Log in with an account before it is saved.

    Return "" if the login succeeds or is skipped, otherwise the error for the page.
    """
    try:
        entered = {key: value for key, value in values.items() if value is not None}
        saved = saved_account(plugin, splunkd, name, entered)
        new_addresses = sorted(_new_addresses(plugin, entered, saved))
        if saved and new_addresses:
            return (
                "Enter the secret again: it was saved for another address, "
                f"and would be sent to {', '.join(new_addresses)}."
            )
        account = {
            key: saved.get(key, "") if value == MASK else value for key, value in entered.items()
        }
        if values.get("skip_test") not in ("1", "true"):
            _check_login(plugin, splunkd, account)
    except SiemtapError as error:
        return (
            f'{error}. Tick "Save without a test" if this instance cannot reach the vendor and'
            " another instance runs the inputs."
        )
    except HTTPError as error:
        return (
            f"Splunk denies a call that the test needs ({error.status}): accounts require a role"
            " with the capability list_storage_passwords."
        )
    except Exception as error:
        return (
            f"The test failed inside the add-on ({error_summary(error)}). "
            "Check what was entered for unusual characters."
        )
    return ""


def _check_login(plugin: Plugin, splunkd: Splunkd, account: Mapping[str, str]) -> None:
    """Call the vendor once with an account's credentials; raise what is wrong."""
    if plugin.check_login is None:
        return
    settings = fill_in(plugin.settings, parse_values(account, account_settings(plugin)))
    connection = splunkd.read_connection(account)
    connection = replace(connection, timeout=min(connection.timeout, TEST_TIMEOUT))
    plugin.check_login(plugin.connect(settings, connect(connection)))


def removal_error(splunkd: Splunkd, account: str) -> str:
    """Return why an account cannot be deleted: inputs log in with it. "" if it can."""
    try:
        names = splunkd.inputs_of_account(account)
    except (SiemtapError, HTTPError) as error:
        return f"Splunk does not say which inputs use the account ({error_summary(error)})."
    if not names:
        return ""
    return (
        f'The account "{account}" is used by {len(names)} input{"s" * (len(names) > 1)}:'
        f" {', '.join(names)}. Delete them, or choose another account for them, first."
    )


def input_error(splunkd: Splunkd, values: Mapping[str, str]) -> str:
    """Return why an input cannot be saved: its interval is none, or its account does not exist
    here. "" if it can.

    A call that changes other settings only, such as enabling the input, has neither.
    """
    account = values.get("account")
    try:
        check_interval(values.get("interval") or "")
        if account is None or splunkd.has_account(account):
            return ""
    except (SiemtapError, HTTPError) as error:
        return (
            f'Splunk does not say whether the account "{account}" exists ({error_summary(error)}).'
        )
    return (
        f'There is no account "{account}" on this instance: create it on the configuration page,'
        " tab Accounts, or choose another one."
    )


def saved_account(
    plugin: Plugin, splunkd: Splunkd, name: str, entered: Mapping[str, str]
) -> Dict[str, str]:
    """Return the saved account if a secret of it is reused, that is, masked or left out.

    Return {} for a new account and for one whose secrets are all entered again.
    """
    if not _reuses_secret(plugin, entered) and entered.get("proxy_password") != MASK:
        return {}
    try:
        return splunkd.read_stanza("account", name)
    except ConfigError:
        if MASK in entered.values():
            raise
        return {}  # a new account


def _reuses_secret(plugin: Plugin, entered: Mapping[str, str]) -> bool:
    """Return whether a secret for the vendor is masked or left out."""
    secrets = [s["name"] for s in account_settings(plugin) if kind_of(s).is_secret]
    return any(entered.get(secret, MASK) == MASK for secret in secrets)


def _new_addresses(
    plugin: Plugin, entered: Mapping[str, str], saved: Mapping[str, str]
) -> Set[str]:
    """Return the addresses that a saved secret would be sent to for the first time: the vendor's,
    and that of the account's proxy."""
    new: Set[str] = set()
    if _reuses_secret(plugin, entered):
        new |= secret_addresses(plugin, entered) - secret_addresses(plugin, saved)
    proxy = entered.get("proxy", "")
    if entered.get("proxy_password") == MASK and proxy and proxy != saved.get("proxy"):
        new.add(proxy)
    return new


def secret_addresses(plugin: Plugin, account: Mapping[str, str]) -> Set[str]:
    """Return where an account's secrets are sent: scheme, host and port of each address."""
    addresses: List[str] = []
    for s in account_settings(plugin):
        if kind_of(s).has_addresses:
            default = s["default"] or ""
            default = default if isinstance(default, str) else ",".join(default)
            addresses += (account.get(s["name"]) or default).split(",")
    parts = [urlsplit(address.strip()) for address in addresses if "://" in address]
    return {f"{part.scheme}://{part.netloc}".lower() for part in parts}


def set_generation(stanza: Dict[str, str], is_new: bool) -> None:
    """Give an input a new `generation` if it is new, a clone, or reset: older marks do not count.

    The number stands in the stanza, as a run in progress may still save a mark after this call.
    """
    if stanza.pop("reset", "") in ("1", "true") or is_new:
        stanza["generation"] = str(int(time.time()))


def delete_checkpoints(splunkd: Splunkd, input: str) -> None:
    """Delete the checkpoints of an input such as `acme://main`, if the KV store answers."""
    with suppress(SiemtapError, HTTPError, OSError):
        KvCheckpoints(splunkd, input).delete_all()


def delete_token(splunkd: Splunkd, account: str) -> None:
    """Delete the stored token of an account, if splunkd answers."""
    with suppress(HTTPError, OSError):
        TokenPasswords(splunkd, account, {}).delete()
