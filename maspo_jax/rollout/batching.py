"""Responses to many problems, cut into batches of one shape.

One shape is compiled once, and its size bounds the memory. What is drawn for a response
depends on the numbers of its problem and of the response alone (`responder.draw`), so
the batches change nothing but time and memory.
"""

import dataclasses
import math

import numpy as np

BATCH = 128  # responses drawn at a time


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """How the responses to a list of problems are cut into batches, all of one shape.

    Responses are numbered problem by problem: the first problem has the first ones.
    """

    problems: int
    samples: int  # responses to each
    prompts: int  # P of a batch
    responses: int  # G of a batch, a divisor of `samples`

    def batch(self, start):
        """Returns the problem and the first response of each prompt, [P] and [P].

        The last batch is filled up with its last prompt.

        Args:
            start: the first response of the batch, among all.
        """
        first = start + self.responses * np.arange(self.prompts)
        first = np.minimum(first, self.problems * self.samples - self.responses)
        return first // self.samples, first % self.samples


def plan_batches(problems, samples, batch, devices):
    """Returns the `BatchPlan` for at most `batch` responses at a time.

    The fewer prompts the better, since each is read once for all its responses in a
    batch; but every device needs one, and no more are taken than there are.

    Args:
        problems: how many.
        samples: responses to each.
        batch: the most responses of a batch, P * G.
        devices: P is a multiple of their number.

    Raises:
        ValueError: `batch` is less than one response for each device.
    """
    if batch < devices:
        raise ValueError(
            f"batch={batch}: at least one response for each of the {devices} devices"
        )
    fitting = (n for n in range(1, samples + 1) if samples % n == 0)
    responses = max(n for n in fitting if n * devices <= batch)
    whole = math.ceil(problems * samples / responses / devices)
    prompts = min(batch // (responses * devices), whole) * devices
    return BatchPlan(problems, samples, prompts, responses)
