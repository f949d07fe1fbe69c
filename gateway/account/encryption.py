"""Words at rest: AES-256-GCM with a key from the environment, the row they belong to sealed in with them.

A sealed text is 12 random bytes, the cipher text and its tag. Its row and workspace are authenticated along with it: a
text that somebody moved to another row, or to another tenant's, does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store.errors import IntegrityFailed, SettingsError
from store.settings import Settings

_KEY_BYTES = 32
_NONCE_BYTES = 12
_NAME = "MERIT_DATA_KEY"
_HOW = 'python -c "import os, base64; print(base64.b64encode(os.urandom(32)).decode())"'


class Keyring:
    """The keys that kept words are encrypted with: the first encrypts, all decrypt.

    Attributes
    ----------
    key_id : of the key that encrypts, first 8 hex digits of its SHA-256; None when there is no key.
    """

    def __init__(self, settings: Settings) -> None:
        """
        Raises
        ------
        SettingsError : a key is not 32 bytes in base64; which one is told, never what it is.
        """
        text = settings.data_key.get_secret_value() if settings.data_key is not None else ""
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        keys = [_key(part, number) for number, part in enumerate(parts, 1)]
        self._ciphers: Mapping[str, AESGCM] = {_key_id(key): AESGCM(key) for key in keys}
        self.key_id = _key_id(keys[0]) if keys else None

    def seal(self, plain: bytes, row: str, workspace: str) -> tuple[str, bytes]:
        """Encrypt what belongs to a row of a workspace; the id of the key, and the sealed text.

        Raises
        ------
        SettingsError : there is no key.
        """
        if self.key_id is None:
            raise no_key()
        nonce = os.urandom(_NONCE_BYTES)
        return self.key_id, nonce + self._ciphers[self.key_id].encrypt(nonce, plain, _context(row, workspace))

    def unseal(self, key_id: str, sealed: bytes, row: str, workspace: str) -> bytes:
        """Decrypt what was sealed for a row of a workspace.

        Raises
        ------
        SettingsError : the key is not, or no longer, in the environment.
        IntegrityFailed : it was changed, or belongs to another row.
        """
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SettingsError(
                f"What is kept under {row!r} was encrypted with the key {key_id}, which {_NAME} does not hold.",
                remedy=f"Add that key to {_NAME}, after a comma, behind the one in use.",
                field=_NAME,
                value=key_id,
            )
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _context(row, workspace))
        except (InvalidTag, ValueError):
            raise IntegrityFailed(
                f"What is kept under {row!r} in the workspace {workspace!r} was changed, or belongs to another row.",
                remedy="Restore the row from a backup; nobody can read it as it is.",
                field="id",
                value=row,
            ) from None


def no_key() -> SettingsError:
    """Something asks for encryption and there is no key."""
    return SettingsError(
        f"Prompts and answers are to be kept encrypted, and {_NAME} is not set.",
        remedy=f"Set it to a key made by `{_HOW}`, or keep nothing.",
        field=_NAME,
    )


def _key(text: str, number: int) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise SettingsError(
            f"Key {number} of {_NAME} is not 32 bytes in base64.",
            remedy=f"Make one with `{_HOW}`; several are parted by commas, the one in use first.",
            field=_NAME,
        )
    return key


def _key_id(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:8]


def _context(row: str, workspace: str) -> bytes:
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    return f"{len(row)}:{row}:{workspace}".encode("utf-8", "surrogatepass")
