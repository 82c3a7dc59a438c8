"""One TLS context for HTTP and sockets: building one costs some 30 ms, so it is done once and off the loop."""

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
    """The session's TLS context, built when first asked for.

    Args:
        verify: True trusts the usual authorities (or those of SSL_CERT_FILE and SSL_CERT_DIR), False anybody; a path
            is a file or a directory with the certificates of the only authorities to trust; a context is taken as
            it is.

    Raises:
        ConfigurationError: it is nothing of that.
    """

    def __init__(self, verify: Verify = True) -> None:
        given: object = verify
        if not isinstance(given, (bool, str, os.PathLike, ssl.SSLContext)):
            raise ConfigurationError(
                f"verify is a {type(given).__name__}; give True, False, the path of a file or directory of "
                "certificates, or an ssl.SSLContext"
            )
        self._verify = verify
        self._turn = Lock()

    @property
    def context(self) -> ssl.SSLContext:
        """The context; call it in a thread the first time. Raises `ConfigurationError`."""
        with self._turn:  # the threads of the first call and of the first socket come at the same time
            return self._context

    @cached_property
    def _context(self) -> ssl.SSLContext:
        if isinstance(self._verify, ssl.SSLContext):
            return self._verify
        if isinstance(self._verify, bool):
            return _usual() if self._verify else _trusting()
        return _trusting_only(Path(self._verify))


def _usual() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not (file or folder):
        return ssl.create_default_context(cafile=certifi.where())
    try:  # only the file is read now; a directory is looked into when a certificate is needed
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"SSL_CERT_FILE is {file!r}, which holds no certificates: {error}; correct it, or take it out of the "
            "environment"
        ) from error


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _trusting_only(path: Path) -> ssl.SSLContext:
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"verify is {str(path)!r}, which holds no certificates: {error}") from error
