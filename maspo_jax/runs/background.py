"""A thread that writes while others compute: in order, and no error is lost."""

import queue
import threading

WAITING = 64  # pieces of work that may wait; then whoever adds one waits


class Background:
    """Does pieces of work, one after another, in a thread of its own.

    Behind a piece that has failed none is done: nothing is written behind what could
    not be. Its error is raised in the thread that adds work, or waits for it, next.
    """

    def __init__(self):
        self._work, self._error = queue.Queue(WAITING), None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def add(self, work):
        """Has a function without arguments called, when all before it is done.

        Raises:
            BaseException: what a piece before it has raised.
            RuntimeError: it is closed.
        """
        self._raise()
        if self._closed:
            raise RuntimeError("the writer is closed: nothing more would be done")
        self._work.put(work)

    def flush(self):
        """Waits until all is done.

        Raises:
            BaseException: what a piece has raised.
        """
        self._work.join()
        self._raise()

    def close(self):
        """Waits until all is done, and ends the thread. Raises nothing."""
        if not self._closed:
            self._closed = True
            self._work.put(None)
        self._thread.join()

    def _raise(self):
        if self._error is not None:
            raise self._error

    def _run(self):
        more = True
        while more:
            work = self._work.get()
            more = work is not None
            try:
                if more and self._error is None:
                    work()
            except BaseException as error:
                self._error = error
            finally:
                self._work.task_done()
