"""What the arena races in: fixed before stage 2 of any race was run.

The task is the default job's, shorter: chains of four numbers, a policy of 0.1 M
parameters that supervised training has taught to guess more often than to write the
steps. It was made so that `Clip`, alone, learns in each regime; no other gate was
looked at. The metric is the greedy accuracy on held-out problems after the last step.
"""

import dataclasses

from maspo_jax.config import (
    Experiment,
    Grading,
    Objective,
    Optimization,
    Phase,
    Sampling,
    Sft,
    Updates,
    Validation,
)
from maspo_jax.data.sources import arithmetic
from maspo_jax.data.sources.problem import Problem
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.objectives import gates
from maspo_jax.rewards import graders
from maspo_jax.settings import setting

METRIC = "validation/accuracy"
SEEDS = tuple(range(16))
TUNING_SEEDS = (1000, 1001)
LEVEL = 0.5  # of the accuracy, to which steps are counted

tokenizer = arithmetic.tokenizer()
# Two learning rates for each of two settings of a gate; four rates for a gate without.
RATES = (3e-5, 1e-4)
HIGH_RATES = (1e-4, 3e-4)

# Every gate of the package: that of its paper, and one more setting, about twice as
# tolerant. The first one is what the others are drawn against.
METHODS = {
    "GRPO": (gates.Clip(), gates.Clip(high=0.28)),
    "Plain IS": (gates.ImportanceSampling(),),
    "REINFORCE": (gates.Reinforce(),),
    "DAC": (gates.Dac(), gates.Dac(low=0.32, high=0.4)),
    "BAPO": (gates.Bapo(), gates.Bapo(high_stop=3.0)),
    "BAPO, as in the paper": (gates.PaperBapo(), gates.PaperBapo(high_stop=5.0)),
    "DPPO": (gates.Dppo(), gates.Dppo(low=0.4, high=0.4)),
    "SAPO": (gates.Sapo(), gates.Sapo(tau_positive=0.5, tau_negative=0.525)),
    "Unilateral SAPO": (gates.UnilateralSapo(),),
    "MASPO": (gates.Maspo(), gates.Maspo(sigma_base=2.0)),
    "Bilateral MASPO": (gates.BilateralMaspo(),),
    "CISPO": (gates.Cispo(), gates.Cispo(low=0.4, high=0.4)),
    "GPPO": (gates.Gppo(), gates.Gppo(low=0.4, high=0.56)),
    "CE-GPPO": (gates.CeGppo(), gates.CeGppo(low=0.4, high=0.4)),
    "ASPO": (gates.Aspo(), gates.Aspo(low=0.4, high=0.4)),
    "DGPO": (gates.Dgpo(), gates.Dgpo(low=0.4, high=0.4)),
    "GSPO": (gates.Gspo(), gates.Gspo(low=3e-3, high=4e-3)),
    "GMPO": (gates.Gmpo(), gates.Gmpo(low=0.8, high=0.8)),
}
SOFT_BY_LOGPROB = ("CISPO", "GPPO", "CE-GPPO")

# What is claimed of the methods, (the one, the other, of what): planned before any of
# stage 2 was run, and corrected by Holm's method for all regimes together.
CLAIMS = (
    ("MASPO", "GRPO", "accuracy"),
    ("DGPO", "GRPO", "accuracy"),
    ("MASPO", "SAPO", "accuracy"),
    ("DGPO", "MASPO", "accuracy"),
    ("MASPO", "GRPO", "entropy"),
    ("DGPO", "GRPO", "entropy"),
)


@dataclasses.dataclass(frozen=True)
class WrongGolds:
    """Chains of which a share has a reference answer that is off by one."""

    numbers: int = setting(4, "[2, inf)")
    share: float = setting(0.2, "[0, 1]")
    size: int = setting(65536, "[1, inf)")
    uniform = True

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Problem:
        problem = arithmetic.Chains(numbers=self.numbers, size=self.size)[index]
        # Every fifth problem, if the share is a fifth: which ones is fixed.
        if int((index + 1) * self.share + 1e-9) > int(index * self.share + 1e-9):
            wrong = str(int(problem.answer) + 1)
            problem = dataclasses.replace(problem, answer=wrong)
        return problem


def _sft(direct):
    chains = lambda share, seed: arithmetic.Chains(numbers=4, direct=share, seed=seed)
    return Sft(
        phases=(Phase(chains(0.05, 1), updates=300), Phase(chains(direct, 2), 80)),
        optimization=Optimization(
            5e-3, warmup_updates=50, schedule="linear", beta2=0.99
        ),
        response_length=36,
        prompt_length=10,
    )


BASE = Experiment(
    policy=DecoderConfig(vocabulary=tokenizer.size, width=64, depth=2, remat="dots"),
    tokenizer=tokenizer,
    train_set=arithmetic.Chains(numbers=4),
    validation=Validation(
        arithmetic.Chains(numbers=4, split="test"), problems=128, every=8
    ),
    sft=_sft(0.7),
    sampling=Sampling(prompts=8, responses=8, prompt_length=10, response_length=36),
    objective=Objective(gate=gates.Clip()),
    optimization=Optimization(1e-3),
    updates=Updates(minibatches=4),
    grading=Grading(graders.hendrycks),
    steps=32,
    checkpoint_every=32,
    rollouts_every=32,
)


@dataclasses.dataclass(frozen=True)
class Regime:
    """One race."""

    about: str
    experiment: Experiment
    rates: tuple[float, ...] = RATES


def _regime(about, rates=RATES, **changes):
    return Regime(about, dataclasses.replace(BASE, **changes), rates)


def trials_of(settings, rates):
    """Returns four trials of a method: settings and learning rates, crossed."""
    if len(settings) == 1:
        low, high = rates
        step = (high / low) ** (1 / 3)
        rates = tuple(low * step**power for power in range(4))
    return [
        {"objective.gate": gate, "optimization.learning_rate": rate}
        for gate in settings
        for rate in rates
    ]


REGIMES = {
    "reuse": _regime(
        "many updates on each batch: 4 minibatches, 4 epochs",
        updates=Updates(minibatches=4, epochs=4),
        steps=24,
    ),
    "rare": _regime(
        "right answers are rare at the start; 4 minibatches, 2 epochs",
        sft=_sft(0.95),
        updates=Updates(minibatches=4, epochs=2),
    ),
    "noise": _regime(
        "one reference answer in five is off by one; 4 minibatches, 2 epochs",
        train_set=WrongGolds(),
        updates=Updates(minibatches=4, epochs=2),
    ),
    "lag": _regime(
        "a batch as large as four, in 16 minibatches: the last is 15 updates behind",
        sampling=dataclasses.replace(BASE.sampling, prompts=32),
        updates=Updates(minibatches=16),
        steps=12,
        validation=dataclasses.replace(BASE.validation, every=4),
    ),
    "aggressive": _regime(
        "learning rates three times as high; 4 minibatches, 2 epochs",
        HIGH_RATES,
        updates=Updates(minibatches=4, epochs=2),
    ),
    "long": _regime(
        "three times as many steps, of 2 minibatches",
        updates=Updates(minibatches=2),
        steps=96,
        validation=dataclasses.replace(BASE.validation, every=24),
        checkpoint_every=48,
        rollouts_every=96,
    ),
}
