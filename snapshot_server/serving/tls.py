"""TLS in the server itself, where nothing in front ends it; changed files are taken up."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from outbox.errors import BadSetting

if TYPE_CHECKING:
    from snapshot_server.settings import TlsFiles

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 2.0

_Seen = tuple[tuple[int, int, int], ...]


class Certificates:
    """What the server shows to clients, and what it asks them to show."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises BadSetting, which names the variable whose file is of no use."""
        self._files = files
        self._seen = self._look()
        self._current = _context(files)
        self.context = _context(files)
        """For the listener. New connections get the files as they were last found good."""
        # A context of its own for each state of the files: certificate and key change together,
        # and an authority that was taken away is trusted no longer.
        self.context.sni_callback = self._choose

    async def watch(self) -> None:
        """Take up what changes, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self.reload()

    def reload(self) -> bool:
        """Whether changed files were taken up. Bad ones are logged, and the old ones kept."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self._current = _context(self._files)
        except BadSetting as exc:
            log.error("tls.kept", error=str(exc))  # noqa: TRY400 - the sentence says it
            return False
        log.info("tls.reloaded", certificate=self._files.certificate)
        return True

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        # Called in each handshake, whether or not the client names a server.
        connection.context = self._current

    def _look(self) -> _Seen:
        """What of the files tells that they were changed, also through symbolic links."""
        seen = []
        for path in (self._files.certificate, self._files.key, self._files.client_ca):
            try:
                found = Path(path).stat()
                seen.append((found.st_ino, found.st_mtime_ns, found.st_size))
            except OSError:
                seen.append((0, 0, 0))
        return tuple(seen)


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    # A client that resumes a session is not asked for its certificate again.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _check_certificates("GRPC_TLS_CERT", files.certificate)
    if files.client_ca:
        _check_certificates("GRPC_TLS_CLIENT_CA", files.client_ca)
    _readable("GRPC_TLS_KEY", files.key)
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, OSError) as exc:
        raise BadSetting(
            f"GRPC_TLS_KEY is {files.key}, which is no key of the certificate in"
            f" {files.certificate}, or has a password: {_reason(exc)}"
        ) from exc
    if files.client_ca:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_certificates(name: str, path: str) -> None:
    _readable(name, path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (ssl.SSLError, OSError) as exc:
        reason = _reason(exc)
        raise BadSetting(f"{name} is {path}, which has no certificate in PEM: {reason}") from exc


def _readable(name: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as exc:
        raise BadSetting(f"{name} is {path}, which cannot be read: {_reason(exc)}") from exc


def _reason(exc: OSError) -> str:
    reason = getattr(exc, "reason", None) or exc.strerror or str(exc)
    return str(reason).lower().replace("_", " ")
