# SPDX-License-Identifier: BSD-3-Clause
"""Work in threads and in child processes, which must end in time and well."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

#: A child that takes longer hangs. A thread may have to wait for children.
CHILD_SECONDS = 60
THREAD_SECONDS = 150


class Difference(Exception):  # noqa: N818  what a soak looks for
    """Something is not as on the stock interpreter."""


def in_child(works: list[tuple[str, Callable[[], None]]]) -> None:
    """Fork, and do each in the child, which ends without tidying up."""
    sys.stderr.flush()
    process = os.fork()
    if process == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(CHILD_SECONDS)
        os._exit(0 if _all_done(works) else 1)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise Difference(f"a child process ended by {signal.Signals(-code).name}, see above")
    if code > 0:
        raise Difference(f"a child process failed with exit status {code}, see above")


def _all_done(works: list[tuple[str, Callable[[], None]]]) -> bool:
    for text, work in works:
        try:
            work()
        except BaseException:
            said = traceback.format_exc()
            print(f"in a child process, {text}:\n{said}", file=sys.stderr, flush=True)
            return False
    return True


def in_threads(works: list[Callable[[], None]], here: Callable[[], None] | None = None) -> None:
    """Do each in a thread of its own, and something here; raise what one of them raised."""
    raised: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    workers = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for worker in workers:
        worker.start()
    if here is not None:
        guarded(here)
    for worker in workers:
        worker.join(THREAD_SECONDS)
    if any(worker.is_alive() for worker in workers):
        raise Difference(f"a thread has not ended after {THREAD_SECONDS} s")
    if raised:
        raise raised[0]
