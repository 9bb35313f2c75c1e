"""Joining a pod: several processes that compute together."""

import jax

# In seconds: containers of a pod may start minutes apart; a process that has died is
# noticed by the others after so long without a sign of life.
JOIN_TIMEOUT, HEARTBEAT = 300, 20


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
