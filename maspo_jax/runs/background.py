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
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def add(self, work):
        """Has a function without arguments called, when all before it is done.

        Raises:
            Exception: what a piece before it has raised.
        """
        self._raise()
        self._work.put(work)

    def flush(self):
        """Waits until all is done.

        Raises:
            Exception: what a piece has raised.
        """
        self._work.join()
        self._raise()

    def close(self):
        """Waits until all is done, and ends the thread. Raises nothing."""
        self._work.put(None)
        self._thread.join()

    def _raise(self):
        if self._error is not None:
            raise self._error

    def _run(self):
        while (work := self._work.get()) is not None:
            try:
                if self._error is None:
                    work()
            except Exception as error:
                self._error = error
            finally:
                self._work.task_done()
