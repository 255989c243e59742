"""The keystore: secrets in a file that is encrypted with a password.

The file lies beside the configuration, siemtap.keystore, for its owner alone (0600). It is JSON:
the salt of the password, and the secrets, encrypted and authenticated together (Fernet: AES-CBC and
HMAC-SHA256; the key is made with scrypt). The password comes from the environment variable
SIEMTAP_KEYSTORE_PASSWORD, or from a systemd credential of the name siemtap_keystore_password.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from ...core.errors import ConfigError
from ...core.manifest import suggest

VARIABLE = "SIEMTAP_KEYSTORE_PASSWORD"
CREDENTIAL = "siemtap_keystore_password"  # of systemd: a file in $CREDENTIALS_DIRECTORY
NAME = r"[A-Za-z0-9_.-]{1,64}"
SALT_BYTES = 16
COST = 2**15  # of scrypt: 32 MiB and about 0.1 s


class Keystore:
    """The secrets by name. The file is read when the first secret is asked for."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self.path, self.environment = path, environment
        self.secrets: Optional[Dict[str, str]] = None

    @classmethod
    def beside(cls, file: str, environment: Mapping[str, str]) -> Keystore:
        """Return the keystore of a configuration file."""
        return cls(Path(file).parent / "siemtap.keystore", environment)

    def get(self, name: str) -> str:
        """Return a secret. Raise ConfigError if there is none of this name."""
        secrets = self.read()
        if name not in secrets:
            raise ConfigError(
                f'needs "{name}" of the keystore {self.path}, which is not there'
                f"{suggest(name, secrets)}; add it with `siemtap keystore add {name}`"
            )
        return secrets[name]

    def read(self) -> Dict[str, str]:
        """Return all secrets."""
        if self.secrets is None:
            self.secrets = self._read()
        return self.secrets

    def _read(self) -> Dict[str, str]:
        from cryptography.fernet import InvalidToken  # only who has a keystore needs it

        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            token, salt = stored["secrets"].encode("ascii"), base64.b64decode(stored["salt"])
        except FileNotFoundError:
            raise ConfigError(
                f"needs the keystore {self.path}, which is not there; make it with"
                " `siemtap keystore create`"
            ) from None
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(self._damaged()) from None
        try:
            secrets = json.loads(self._cipher(salt).decrypt(token))
        except InvalidToken:
            raise ConfigError(
                f"the password does not open the keystore {self.path}; check {VARIABLE}"
            ) from None
        return {str(name): str(secret) for name, secret in secrets.items()}

    def _damaged(self) -> str:
        return (
            f"{self.path} is damaged; restore a copy of it, or make it anew with"
            " `siemtap keystore create --force`"
        )

    def write(self, secrets: Mapping[str, str]) -> None:
        """Write all secrets: a new file takes the place of the old one as a whole."""
        salt = os.urandom(SALT_BYTES)
        token = self._cipher(salt).encrypt(json.dumps(dict(secrets)).encode())
        content = {"salt": base64.b64encode(salt).decode(), "secrets": token.decode()}
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None
        self.secrets = dict(secrets)

    def _cipher(self, salt: bytes) -> Any:
        from cryptography.fernet import Fernet
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        key = Scrypt(salt=salt, length=32, n=COST, r=8, p=1).derive(self._password().encode())
        return Fernet(base64.urlsafe_b64encode(key))

    def _password(self) -> str:
        password = self.environment.get(VARIABLE, "")
        folder = self.environment.get("CREDENTIALS_DIRECTORY", "")
        if not password and folder:
            try:
                text = (Path(folder) / CREDENTIAL).read_text(encoding="utf-8")
                password = text.rstrip("\r\n")
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                raise ConfigError(f"the credential {CREDENTIAL} cannot be read: {reason}") from None
        if not password:
            raise ConfigError(
                f"needs the password of the keystore {self.path}; set {VARIABLE}, or give systemd's"
                f" unit the credential {CREDENTIAL}"
            )
        return password
