"""Bearer tokens: making them, and the file of their salted hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Final

from gradmesh_engine.errors import InvalidRequestError

_PREFIX: Final = "gm"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LINE: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,63})\s+blake2b:(?P<salt>[0-9a-f]{32}):(?P<hash>[0-9a-f]{64})"
)
_RESERVED: Final = "anonymous"

# A token is 256 random bits: unlike a password it cannot be found by trying, so a fast hash is enough.
_SECRET_BYTES: Final = 32
_NOBODY: Final = (bytes(16), bytes(32))


def make_token(name: str) -> tuple[str, str]:
    """A new token for the principal `name`, and the line of the tokens file that lets it in.

    Raises InvalidRequestError for a name outside letters, digits, "_" and "-".
    """
    if not _NAME.fullmatch(name) or name == _RESERVED:
        raise InvalidRequestError(
            "this cannot be the name of a principal",
            expected=f"at most 64 letters, digits, '_' and '-', and not {_RESERVED!r}",
            got=name,
        )
    token = f"{_PREFIX}.{name}.{secrets.token_urlsafe(_SECRET_BYTES)}"
    salt = secrets.token_bytes(16)
    return token, f"{name} blake2b:{salt.hex()}:{_hash(token, salt).hex()}"


def _hash(token: str, salt: bytes) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=32, salt=salt).digest()


class Tokens:
    """What a tokens file says. A principal may have several lines, so that a token can be replaced without a gap."""

    def __init__(self, hashes: dict[str, list[tuple[bytes, bytes]]]) -> None:
        self._hashes = hashes

    @classmethod
    def read(cls, file: Path) -> Tokens:
        """Raises InvalidRequestError naming the line that is wrong, OSError."""
        hashes: dict[str, list[tuple[bytes, bytes]]] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = _LINE.fullmatch(line)
            if found is None or found["name"] == _RESERVED:
                # Not shown: someone may have put a token where its hash belongs.
                raise InvalidRequestError(
                    f"line {number} of the tokens file {file} is wrong",
                    expected="NAME blake2b:SALT:HASH",
                    remedy="take the line that `gradmesh token NAME` prints",
                )
            entry = bytes.fromhex(found["salt"]), bytes.fromhex(found["hash"])
            hashes.setdefault(found["name"], []).append(entry)
        return cls(hashes)

    @property
    def names(self) -> tuple[str, ...]:
        """The principals, sorted."""
        return tuple(sorted(self._hashes))

    def principal(self, token: str) -> str | None:
        """Whose token this is. Takes as long for a name that is not there."""
        parts = token.split(".")
        name = parts[1] if len(parts) == 3 else ""
        right = False
        for salt, expected in self._hashes.get(name) or [_NOBODY]:
            right |= hmac.compare_digest(_hash(token, salt), expected)
        return name if right else None
