"""Ctrl-C and SIGTERM: save what is finished, and go."""

import signal
import threading

from maspo_jax import distributed

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The run was asked to stop and has saved its state."""

    def __init__(self, number, done):
        super().__init__(f"stopped by {signal.Signals(number).name} after {done}")
        self.exit_status = 128 + number  # what a shell reports for this signal


class Interrupts:
    """Notes a request to stop until the loop asks for it.

    A second signal of the same kind ends the process at once.
    Outside the main thread it notes nothing.
    """

    def __init__(self, display):
        self._display = display
        self._number = 0
        self._before, self._woken = {}, -1

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._note)
            # Who watches for signals would hear of it, perhaps when all is over.
            self._woken = signal.set_wakeup_fd(-1)
        return self

    def __exit__(self, *error):
        if self._before:
            signal.set_wakeup_fd(self._woken)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self):
        """The number of the signal that any process of the pod received, or 0."""
        return int(distributed.max_over_hosts(self._number))

    def _note(self, number, frame):
        self._number = number
        signal.signal(number, signal.SIG_DFL)
        # Not said from here: the signal may have cut into the middle of a print.
        threading.Thread(target=self._say, args=(number,)).start()

    def _say(self, number):
        self._display.note(
            f"{signal.Signals(number).name}: saving after this step, or the one before "
            "(again to stop at once)"
        )
