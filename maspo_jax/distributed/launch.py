"""Joining a pod: several processes that compute together."""

import os
import sys
import threading

import jax

# In seconds: containers of a pod may start minutes apart; a process that has died is
# noticed by the others after so long without a sign of life; one that has failed waits
# so long for others that may have failed likewise.
JOIN_TIMEOUT, HEARTBEAT, FAREWELL = 300, 20, 10


def initialize_distributed(pod):
    """Makes this process one of several that compute together.

    Args:
        pod: None for a process on its own, "auto" on a TPU pod or another
            cluster that JAX recognizes, else "HOST:PORT/INDEX/COUNT": where
            process 0 listens, which process this is, and how many there are.
    """
    if pod is None:
        return
    if pod == "auto":
        try:
            jax.distributed.initialize(
                initialization_timeout=JOIN_TIMEOUT, heartbeat_timeout_seconds=HEARTBEAT
            )
        except ValueError as error:
            raise ValueError(
                f"pod='auto': JAX recognizes no cluster here ({error}); give "
                "'HOST:PORT/INDEX/COUNT' to each process"
            ) from error
        return
    try:
        address, index, count = pod.split("/")
        index, count = int(index), int(count)
        if not (0 <= index < count and address.rpartition(":")[2].isdecimal()):
            raise ValueError(pod)
    except ValueError as error:
        raise ValueError(
            f"pod={pod!r}: expected 'auto' or 'HOST:PORT/INDEX/COUNT', for "
            "example 'localhost:1234/0/2' for the first of two processes"
        ) from error
    print(
        f"process {index} of {count}: waiting for the others at {address}; JAX aborts "
        f"this one if they have not come within {JOIN_TIMEOUT} s",
        flush=True,
    )
    jax.distributed.initialize(
        address,
        count,
        index,
        initialization_timeout=JOIN_TIMEOUT,
        heartbeat_timeout_seconds=HEARTBEAT,
    )


def lost_peer(error):
    """Returns whether an error says that another process of the pod has ended."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "by peer" in str(error)


def leave(status):
    """Ends this process if it has failed alone in its pod, where others wait for it.

    They may be in the middle of a collective that this one never reaches, and JAX would
    wait 300 s at its exit for all to come. Without it, they end within `HEARTBEAT`.

    Args:
        status: of the exit.
    """
    together = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    together.start()
    together.join(FAREWELL)
    if together.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
