"""A KEK in a PKCS#11 token (a hardware security module, SoftHSM2): it never leaves the token.

    METERKEEP_KEK=pkcs11:token=LABEL;object=LABEL?module-path=/path/lib.so&pin-source=file:/path
    wrapped   nonce (12) | AES-256-GCM by the token, the context as AAD | tag (16)

The URI is RFC 7512's, of which these attributes count; another one is refused, since ignoring it
might name another key. The PIN is the first line of a file that nobody else can read: `pin-source`,
or METERKEEP_PKCS11_PIN_FILE. One session a process and token, one call at a time: a key is
unwrapped once in minutes, not once a row.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from store.envelope import NONCE_SIZE, TAG_SIZE
from store.errors import InputError, KekError

SCHEME = "pkcs11:"
_KNOWN = {"token", "object", "module-path", "pin-source"}
_NEEDED = {"token", "object", "module-path"}
_Found = TypeVar("_Found")


def parse(uri: str) -> dict[str, str]:
    """Return the attributes of a PKCS#11 URI. Raises InputError (``bad_setting``)."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    parts = [*filter(None, path.split(";")), *filter(None, query.split("&"))]
    pairs = [part.partition("=") for part in parts]
    said = {name: unquote(value) for name, _, value in pairs}
    if (
        not uri.startswith(SCHEME)
        or len(said) != len(pairs)
        or not _NEEDED <= said.keys() <= _KNOWN
    ):
        raise InputError(
            "a KEK in a token is pkcs11:token=..;object=..?module-path=.. and maybe &pin-source=..",
            code="bad_setting",
        )
    return said


class Pkcs11Kek:
    """A KEK that never leaves its token; see `ports.Kek`."""

    def __init__(self, uri: str, pin_file: Path | None = None) -> None:
        said = parse(uri)
        self._object = said["object"]
        source = said.get("pin-source", "").removeprefix("file:")
        self._session = _session(
            said["module-path"], said["token"], Path(source) if source else pin_file
        )
        self._do(self._check)

    @staticmethod
    def create(uri: str, pin_file: Path | None = None) -> None:
        """Let the token draw a key that it never shows. Raises KekError where one exists."""
        said = parse(uri)
        source = said.get("pin-source", "").removeprefix("file:")
        session = _session(said["module-path"], said["token"], Path(source) if source else pin_file)
        session.do(lambda opened: _draw(opened, said["object"]))

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return ``secret`` wrapped by the token and bound to ``context``."""
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._do(lambda key: bytes(key.encrypt(secret, **_gcm(nonce, context))))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return what was wrapped; raises KekError for another key or context, or no answer."""
        nonce, sealed = wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:]
        if len(sealed) < TAG_SIZE:
            raise KekError("a wrapped key was cut short")
        return self._do(lambda key: bytes(key.decrypt(sealed, **_gcm(nonce, context))))

    def _do(self, work: Callable[[Any], _Found]) -> _Found:
        return self._session.do(lambda opened: work(_key(opened, self._object)))

    @staticmethod
    def _check(key: Any) -> None:
        from pkcs11 import Attribute  # noqa: PLC0415 - see _library

        if key[Attribute.EXTRACTABLE]:
            raise KekError("the KEK could leave its token: make one that is not extractable")


class _Session:
    """The one session of a process at one token; a call that failed opens it anew, once."""

    def __init__(self, module: str, token: str, pin: str) -> None:
        self._module, self._token, self._pin = module, token, pin
        self._lock = threading.Lock()
        self._opened: tuple[int, Any] | None = None  # in which process, and the session

    def do(self, work: Callable[[Any], _Found]) -> _Found:
        """Return what ``work`` makes of the session.

        Raises:
            KekError: The token refuses or does not answer.
        """
        errors = _library().exceptions
        lost = (errors.SessionHandleInvalid, errors.SessionClosed, errors.DeviceRemoved,
                errors.UserNotLoggedIn)  # fmt: skip
        with self._lock:
            try:
                try:
                    return work(self._session())
                except lost:
                    self._opened = None
                    return work(self._session())
            except errors.PKCS11Error as error:
                raise KekError(
                    f"the token refused or did not answer ({type(error).__name__}): is the key in "
                    "it, and is it the one that made this store?"
                ) from None
            except (OSError, RuntimeError) as error:
                raise KekError(
                    f"the token's module cannot be used ({type(error).__name__})"
                ) from None

    def _session(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            library = _library().lib(self._module)
            if self._opened is not None:
                library.reinitialize()  # a forked child has none of its parent's sessions
            token = library.get_token(token_label=self._token)
            try:
                session = token.open(rw=True, user_pin=self._pin)
            except _library().exceptions.UserAlreadyLoggedIn:
                session = token.open(rw=True)
            self._opened = os.getpid(), session
        return self._opened[1]


_sessions: dict[tuple[str, str], _Session] = {}
_opening = threading.Lock()


def _session(module: str, token: str, pin_file: Path | None) -> _Session:
    _library()
    with _opening:
        known = _sessions.get((module, token))
        if known is None:
            known = _sessions[module, token] = _Session(module, token, _pin(pin_file))
        return known


def _library() -> Any:
    try:
        import pkcs11  # noqa: PLC0415 - an extra: only who keeps a KEK in a token needs it
    except ImportError:
        text = "a KEK in a token needs python-pkcs11: see README.md, A KEK in a token"
        raise KekError(text) from None
    return pkcs11


def _pin(file: Path | None) -> str:
    if file is None:
        raise KekError("the token's PIN is missing: set METERKEEP_PKCS11_PIN_FILE, or pin-source")
    try:
        lines, open_to_others = file.read_text().splitlines(), file.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        raise KekError("the file with the token's PIN cannot be read") from None
    if open_to_others:
        raise KekError("the file with the token's PIN can be read by others: chmod 600 it")
    if not lines or not lines[0]:
        raise KekError("the file with the token's PIN is empty")
    return lines[0]


def _key(session: Any, label: str) -> Any:
    """Return the one secret key of this label: looked up each time, so a destroyed one is gone."""
    return session.get_key(object_class=_library().ObjectClass.SECRET_KEY, label=label)


def _draw(session: Any, label: str) -> None:
    pk = _library()
    if next(iter(session.get_objects({pk.Attribute.LABEL: label})), None) is not None:
        raise KekError("the token has an object of this label: a KEK is never drawn over one")
    session.generate_key(
        pk.KeyType.AES, 256, label=label, store=True,
        capabilities=pk.MechanismFlag.ENCRYPT | pk.MechanismFlag.DECRYPT,
        template={pk.Attribute.SENSITIVE: True, pk.Attribute.EXTRACTABLE: False},
    )  # fmt: skip


def _gcm(nonce: bytes, context: bytes) -> dict[str, Any]:
    pk = _library()
    return {
        "mechanism": pk.Mechanism.AES_GCM,
        "mechanism_param": pk.GCMParams(nonce, context, TAG_SIZE * 8),
    }
