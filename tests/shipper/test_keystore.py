"""The keystore: its file, its password, its commands, and ${keystore:NAME}."""

import json
import os

import pytest
from click.testing import CliRunner

from siemtap.core.errors import ConfigError
from siemtap.shipper.cli.main import main
from siemtap.shipper.config.keystore import Keystore
from siemtap.shipper.config.load import load

PASSWORD = {"SIEMTAP_KEYSTORE_PASSWORD": "correct horse"}
INPUT = "inputs:\n  - {type: apptrana, client_id: a, client_secret: '${keystore:KEY}'}\n"


@pytest.fixture
def keystore(tmp_path):
    """Return a function that runs `siemtap keystore …` and returns what it printed."""
    path = tmp_path / "siemtap.yml"
    path.write_text(INPUT)

    def run(*argv, code=0, password=PASSWORD, **how):
        result = CliRunner().invoke(main, ["keystore", *argv, "-c", str(path)], env=password, **how)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.mark.slow
def test_secrets_are_encrypted_and_resolved(tmp_path, keystore):
    keystore("create")
    path = tmp_path / "siemtap.keystore"
    assert path.stat().st_mode & 0o777 == 0o600
    keystore("add", "KEY", "--stdin", input="s3cret\n")
    keystore("add", "OTHER", input="typed\ntyped\n")
    assert keystore("list") == "KEY\nOTHER\n"
    assert b"s3cret" not in path.read_bytes() and b"KEY" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    config = load(str(tmp_path / "siemtap.yml"), PASSWORD)
    assert config.inputs[0].settings.client_secret == "s3cret"
    assert config.warnings == () and "s3cret" not in repr(config)
    keystore("remove", "OTHER")
    assert keystore("list") == "KEY\n"
    assert (
        os.listdir(tmp_path) == ["siemtap.keystore", "siemtap.yml"]
        or len(os.listdir(tmp_path)) == 2
    )


def test_password_from_a_credential_of_systemd(tmp_path, keystore):
    keystore("create")
    keystore("add", "KEY", "--stdin", input="s3cret")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/siemtap_keystore_password").write_text("correct horse\n")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert Keystore.beside(str(tmp_path / "x"), environment).get("KEY") == "s3cret"


@pytest.mark.slow
def test_nothing_is_overwritten_without_force(keystore):
    keystore("create")
    assert "--force" in keystore("create", code=2)
    keystore("add", "KEY", "--stdin", input="one")
    assert "--force" in keystore("add", "KEY", "--stdin", input="two", code=2)
    keystore("add", "KEY", "--stdin", "--force", input="two")
    keystore("create", "--force")
    assert keystore("list") == ""


def test_wrong_calls_say_what_to_do(keystore):
    assert "siemtap keystore create" in keystore("list", code=2)
    keystore("create")
    assert "did you mean" not in keystore("remove", "KEY", code=2)
    assert "is not a name" in keystore("add", "a b", "--stdin", code=2, input="x")
    assert "is empty" in keystore("add", "KEY", "--stdin", code=2, input="\n")
    no_password = {"SIEMTAP_KEYSTORE_PASSWORD": None, "CREDENTIALS_DIRECTORY": None}
    assert "set SIEMTAP_KEYSTORE_PASSWORD" in keystore("list", code=2, password=no_password)
    wrong = {"SIEMTAP_KEYSTORE_PASSWORD": "wrong"}
    assert "does not open the keystore" in keystore("list", code=2, password=wrong)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"[]", b"{}", b'{"salt": 5, "secrets": 6}', b'{"salt": "x", "secrets": ""}']
    + [json.dumps({"salt": "AAAA", "secrets": "gAAAAA"}).encode()],
)
def test_damaged_file(tmp_path, keystore, content):
    (tmp_path / "siemtap.keystore").write_bytes(content)
    output = keystore("list", code=2)
    assert "is damaged" in output or "does not open" in output
    with pytest.raises(ConfigError, match=r"siemtap.yml line 2: inputs\[0\].client_secret"):
        load(str(tmp_path / "siemtap.yml"), PASSWORD)


def test_changed_content_is_noticed(tmp_path, keystore):
    keystore("create")
    path = tmp_path / "siemtap.keystore"
    stored = json.loads(path.read_text())
    token = stored["secrets"]
    stored["secrets"] = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    path.write_text(json.dumps(stored))
    assert "does not open" in keystore("list", code=2)


def test_missing_secret_names_its_setting(tmp_path, keystore):
    keystore("create")
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / "siemtap.yml"), PASSWORD)
    assert 'client_secret needs "KEY" of the keystore' in str(caught.value)
    assert "siemtap keystore add KEY" in str(caught.value)
