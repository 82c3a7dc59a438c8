"""One TLS context for HTTP and the socket. Building one takes some 30 ms, so it is built once, and in a thread."""

from __future__ import annotations

import errno
import os
import ssl
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from wiro_async._errors import ConfigurationError
from wiro_async._transport.network.reasons import unsent

PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

Verify: TypeAlias = bool | str | os.PathLike[str] | ssl.SSLContext


class Tls:
    """The session's TLS context, built when it is first asked for.

    Args:
        verify: whom to trust. True: the usual authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR. False: anybody.
            A path: the authorities whose certificates are in that file or directory, and no others. An
            `ssl.SSLContext` is used as it is.

    Raises:
        ConfigurationError: `verify` is none of these.
    """

    def __init__(self, verify: Verify = True) -> None:
        given: object = verify
        if not isinstance(given, (bool, str, os.PathLike, ssl.SSLContext)):
            raise ConfigurationError(
                f"verify is a {type(given).__name__}; give True, False, the path of a file or directory of "
                "certificates, or an ssl.SSLContext"
            )
        if isinstance(given, ssl.SSLContext) and given.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise ConfigurationError(
                "verify is a context for servers; give one for clients, such as ssl.create_default_context()"
            )
        self._verify = verify
        self._building = Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """The context. Ask for it in a thread the first time.

        Raises:
            ConfigurationError: a file of certificates, or of keys to log, is not usable.
            ConnectionFailedError: the file cannot be read at the moment.
        """
        with self._building:  # the first request and the first socket ask at the same time, in two threads
            return self._context

    @cached_property
    def _context(self) -> ssl.SSLContext:
        verify = self._verify
        if isinstance(verify, ssl.SSLContext):
            return verify
        if not isinstance(verify, bool):
            path = Path(verify)
            return _built(f"verify is {str(path)!r}", "", *((None, path) if path.is_dir() else (path, None)))
        if not verify:
            context = _built("the system's store", "", None)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if file or folders:
            # Only the file is read now. A directory is looked into when a certificate is needed.
            correct = "; correct it, or take it out of the environment"
            if not file and folders and not any(map(os.path.isdir, folders.split(os.pathsep))):
                raise ConfigurationError(f"SSL_CERT_DIR is {folders!r}, which is no directory{correct}")
            return _built(f"SSL_CERT_FILE is {file!r}", correct, file or None, folders or None)
        try:
            import certifi

            file = certifi.where()
        except Exception as error:  # some ways of packing a program leave the library out, or its file
            raise unsent(error, "Could not find certifi's certificates")  # noqa: B904 - its cause is set
        return _built(f"certifi's file is {file!r}", "; install certifi again, or give AsyncWiro(verify=…)", file)


def _built(source: str, remedy: str, file: str | Path | None, folders: str | Path | None = None) -> ssl.SSLContext:
    """Build a context from the certificates of a file or of directories; errors name their source."""
    try:
        return ssl.create_default_context(cafile=file, capath=folders)
    except (OSError, ValueError) as error:  # those of OpenSSL included, and names that no file can have
        if getattr(error, "errno", None) in PASSING and not isinstance(error, ssl.SSLError):
            raise unsent(error, "Could not read the certificates")  # noqa: B904 - its cause is set
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log:
            try:  # Python opens it as well when it builds a context
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = key_log
            except OSError as key_log_error:
                raise ConfigurationError(
                    f"SSLKEYLOGFILE is {key_log!r}, which cannot be written: {key_log_error}; correct it, or take it "
                    "out of the environment"
                ) from error
        raise ConfigurationError(f"{source}, which holds no certificates: {error}{remedy}") from error
