"""One TLS context for HTTP and the socket. Building one takes some 30 ms, so it is built once, and in a thread."""

from __future__ import annotations

import os
import ssl
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import certifi

from wiro_async._errors import ConfigurationError

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
        self._verify = verify
        self._building = Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """The context. Ask for it in a thread the first time. Raises `ConfigurationError`."""
        with self._building:  # the first request and the first socket ask at the same time, in two threads
            return self._context

    @cached_property
    def _context(self) -> ssl.SSLContext:
        if isinstance(self._verify, ssl.SSLContext):
            return self._verify
        if not isinstance(self._verify, bool):
            path = Path(self._verify)
            try:
                if path.is_dir():
                    return ssl.create_default_context(capath=path)
                return ssl.create_default_context(cafile=path)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(f"verify is {str(path)!r}, which holds no certificates: {error}") from error
        file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        if self._verify and (file or folder):
            try:  # only the file is read now; a directory is looked into when a certificate is needed
                return ssl.create_default_context(cafile=file or None, capath=folder or None)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"SSL_CERT_FILE is {file!r}, which holds no certificates: {error}; correct it, or take it out of "
                    "the environment"
                ) from error
        context = ssl.create_default_context(cafile=certifi.where())
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
