"""Where tasks run: processes of this machine, or a Dask cluster. The same code, one Executor.

    (nothing)           a pool of spawned processes, one for each core
    tls://host:8786     a Dask scheduler; certificates by Dask's own settings
                        (DASK_DISTRIBUTED__COMM__TLS__CA_FILE .., __CLIENT__CERT, __CLIENT__KEY)
    tcp://127.0.0.1:..  one on this machine: what travels is pickle, so never further in the clear

A process that is killed takes its pool with it: `rebuild` makes another, and what was under way is
given in again. Tasks may run more than once; whoever gives them in names them so that it is known.
"""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from store.errors import InputError, StoreError

_T = TypeVar("_T")
PATIENCE: Final = 10  # seconds that a scheduler may take to answer
_LOOK: Final = 1.0  # seconds between looks at whether the parent lives


class Pool:
    """An executor that can be made anew.

    Attributes:
        width: Tasks that run at once.
    """

    def __init__(
        self,
        dask: str | None = None,
        width: int | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        """Make nothing yet.

        Args:
            dask: A scheduler's address; None for processes of this machine.
            width: How many processes; None for one to a core.
            begin: What each process does first; found by name.

        Raises:
            InputError: The address would send pickles in the clear (``bad_setting``).
        """
        if dask is not None:
            _safe(dask)
        self._dask, self.width = dask, width or os.cpu_count() or 1
        self._begin, self._turn = begin, threading.RLock()
        self._client: Any = None
        self._executor: Executor | None = None

    def submit(self, key: str, work: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Give a task in; ``key`` names it on a cluster, so that it runs there once."""
        with self._turn:
            if self._executor is None:
                self._executor = self._processes() if self._dask is None else self._cluster()
            if self._dask is None:
                return self._executor.submit(work, *arguments)
            return self._executor.submit(work, *arguments, key=key)

    def rebuild(self) -> None:
        """Let go of an executor that broke; the next task makes another."""
        with self._turn:
            if isinstance(self._executor, ProcessPoolExecutor):
                self._executor.shutdown(wait=False, cancel_futures=True)
            elif self._executor is not None:
                self._executor.shutdown(wait=False)
            self._executor = None

    def close(self) -> None:
        """Let every task end, and the processes go."""
        if isinstance(self._executor, ProcessPoolExecutor):
            self._executor.shutdown(wait=True, cancel_futures=True)
        elif self._executor is not None:
            self._executor.shutdown(wait=True)
        if self._client is not None:
            self._client.close()
        self._executor = self._client = None

    def _processes(self) -> Executor:
        # Spawned: nothing of the parent's memory, sockets or threads comes along.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.width, context, _start, (os.getpid(), self._begin))

    def _cluster(self) -> Executor:
        try:
            import distributed  # noqa: PLC0415 - an extra, and 1 s to load
        except ImportError:
            raise StoreError("METERKEEP_DASK needs Dask: pip install -e '.[dask]'") from None
        assert self._dask is not None
        dask: Any = distributed
        secure = dask.Security(require_encryption=True) if self._dask.startswith("tls") else None
        try:
            self._client = dask.Client(self._dask, security=secure, timeout=PATIENCE)
        except TypeError:  # what Dask says where tls:// has no certificates
            raise StoreError(
                "tls:// needs certificates: DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its kin",
                code="no_executor",
            ) from None
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise StoreError(
                f"the Dask scheduler does not answer ({type(error).__name__})", code="no_executor"
            ) from None
        self.width = max(1, sum(self._client.nthreads().values()))
        executor: Executor = self._client.get_executor(pure=False)
        return executor


def _safe(address: str) -> None:
    parts = urlsplit(address)
    try:
        near = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        near = parts.hostname == "localhost"
    if parts.scheme != "tls" and not (parts.scheme == "tcp" and near):
        raise InputError(
            "METERKEEP_DASK is tls://host:port; tcp:// only to this machine", code="bad_setting"
        )


def _start(parent: int, begin: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is the runner's to hear
    leash(parent)
    if begin is not None:
        begin()


def leash(parent: int) -> None:
    """End this process where its parent is gone: nobody would ever ask it for anything."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
