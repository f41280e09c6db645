"""The server's side of TLS."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc

from gradmesh_engine.errors import InvalidRequestError
from gradmesh_server.config import Config

logger = logging.getLogger("gradmesh.server")


def check_certificates(config: Config) -> None:
    """Raises InvalidRequestError, naming the setting, for files that are no certificate or do not fit together."""
    if not config.tls_cert:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise InvalidRequestError(
            f"tls_cert {config.tls_cert} and tls_key {config.tls_key} cannot be used: {error}",
            expected="a certificate chain and its private key without a passphrase, in PEM",
        ) from None
    if config.tls_client_ca:
        try:
            context.load_verify_locations(config.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            raise InvalidRequestError(
                f"tls_client_ca {config.tls_client_ca} cannot be used: {error}", expected="certificates in PEM"
            ) from None


def server_credentials(config: Config) -> grpc.ServerCredentials:
    """Credentials that read the files again for new connections, so that certificates are renewed without a restart.

    Raises InvalidRequestError when they cannot be used now.
    """
    check_certificates(config)
    files = [Path(name) for name in (config.tls_key, config.tls_cert, config.tls_client_ca) if name]

    def read() -> tuple[bytes, ...]:
        return tuple(file.read_bytes() for file in files)

    def configuration(content: tuple[bytes, ...]) -> grpc.ServerCertificateConfiguration:
        key, cert, *authorities = content
        return grpc.ssl_server_certificate_configuration([(key, cert)], authorities[0] if authorities else None)

    current = [read()]

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each new connection; None keeps what it has."""
        try:
            content = read()
            if content == current[0]:
                return None
            check_certificates(config)  # A file half replaced must not lock everyone out.
        except (OSError, InvalidRequestError) as error:
            logger.error("the certificates were not read again, those known so far stay in use: %s", error)
            return None
        current[0] = content
        return configuration(content)

    # The stubs do not know that None may be answered.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", renewed)
    return grpc.dynamic_ssl_server_credentials(
        configuration(current[0]), fetch, require_client_authentication=bool(config.tls_client_ca)
    )
