"""Who calls: the principal behind a token or a client certificate."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Any, Final

from gradmesh_engine.errors import GradmeshError, InvalidRequestError, PermissionDeniedError, UnauthenticatedError
from gradmesh_server.config import Config
from gradmesh_server.telemetry import ANONYMOUS, current_call
from gradmesh_server.tokens import Tokens

logger = logging.getLogger("gradmesh.server")

_KNOWN: Final = 4096
_CERTIFICATE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/:+-]{0,127}")
_Stamp = tuple[int, int, int]


class Authenticator:
    """Tells the principal of each call. Lives on the event loop. Final.

    With a tokens file the token says who calls; otherwise, with mutual TLS, the common name of the client's
    certificate; otherwise everyone is "anonymous".
    """

    def __init__(self, config: Config) -> None:
        """Raises InvalidRequestError when the tokens file is wrong or empty."""
        self._by_certificate = bool(config.tls_client_ca) and not config.tokens
        self._file = Path(config.tokens) if config.tokens else None
        self._tokens = Tokens({})
        self._stamp: _Stamp | None = None
        # Hashes of headers that were found right. Keyed, so that neither the memory nor the time a
        # look-up takes tells anything about a token.
        self._pepper = secrets.token_bytes(32)
        self._known: dict[bytes, str] = {}
        if self._file is not None:
            self._stamp = _stamp(self._file)
            self._tokens = Tokens.read(self._file)
            if not self._tokens.names:
                raise InvalidRequestError(
                    f"the tokens file {self._file} names nobody",
                    expected="a line NAME blake2b:SALT:HASH for each token",
                    remedy="make one with `gradmesh token NAME`",
                )

    def refresh(self) -> None:
        """Read the tokens file again when it has changed. A file that is wrong changes nothing, and is logged."""
        if self._file is None:
            return
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._tokens = Tokens.read(self._file)
        except (OSError, GradmeshError) as error:
            if self._stamp is not None:
                logger.error("the tokens file was not read again, the tokens known so far stay valid: %s", error)
            if isinstance(error, OSError):
                self._stamp = None
            return
        self._known.clear()
        logger.warning("the tokens file was read again: %d principals", len(self._tokens.names))

    def caller(self, context: Any) -> str:
        """The principal of the call at hand.

        Raises UnauthenticatedError, or PermissionDeniedError for a certificate that names nobody.
        """
        if self._file is not None:
            name = self._by_token(context.invocation_metadata())
        elif self._by_certificate:
            name = _by_certificate(context.auth_context())
        else:
            return ANONYMOUS
        call = current_call()
        if call is not None:
            call.principal = name
        return name

    def _by_token(self, metadata: Any) -> str:
        value = next((value for key, value in metadata or () if key == "authorization"), None)
        if value is None:
            raise UnauthenticatedError(
                "the call carries no token",
                expected="metadata `authorization: Bearer TOKEN`",
                remedy="connect with token=..., or set GRADMESH_TOKEN",
            )
        key = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=32, key=self._pepper).digest()
        name = self._known.get(key)
        if name is not None:
            return name
        scheme, _, token = value.partition(" ")
        name = self._tokens.principal(token.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            raise UnauthenticatedError(
                "the token is not one the server knows",
                expected="metadata `authorization: Bearer TOKEN`, with a token of the server's tokens file",
                remedy="ask whoever runs the server for a token",
            )
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[key] = name
        return name


def _by_certificate(facts: Any) -> str:
    names = facts.get("x509_common_name", ())
    name = names[0].decode("utf-8", "replace") if len(names) == 1 else ""
    if not _CERTIFICATE_NAME.fullmatch(name) or name == ANONYMOUS:
        raise PermissionDeniedError(
            "the client's certificate names nobody",
            expected="one common name of at most 128 letters, digits and ._@/:+-",
            got=repr(name),
            remedy="use a certificate whose subject has a common name",
        )
    return str(name)


def _stamp(file: Path) -> _Stamp:
    facts = os.stat(file)
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
