"""An experiment: one frozen dataclass that says everything a run depends on.

An experiment file builds an `Experiment` named `experiment`. The command line may
override any leaf of it, and nothing else.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import tyro

from maspo_jax.data.prompts import templates
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.models.huggingface.load import Checkpoint, config_of
from maspo_jax.objectives import advantages, kl, token_weights
from maspo_jax.objectives.terms import needs_of
from maspo_jax.rewards import grade


@dataclasses.dataclass(frozen=True)
class Optimization:
    """AdamW behind a limit on the global norm of the gradient."""

    learning_rate: float
    warmup_updates: int = 0  # updates of linear rise to the learning rate
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final_fraction: float = 0.1  # of the learning rate, where a schedule ends
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0  # of matrices only
    max_grad_norm: float = 1.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of supervised updates on the solutions of one source."""

    source: Any  # a `data.problems.Source`
    updates: int  # of the optimizer


@dataclasses.dataclass(frozen=True)
class Sft:
    """Supervised training on worked solutions, before the reinforcement learning."""

    phases: tuple[Phase, ...]
    optimization: Optimization
    batch: int = 64  # solutions per update
    checkpoint_every: int = 200  # updates
    prompt_length: int | None = None  # None: as in sampling
    response_length: int | None = None  # likewise
    row_length: int | None = None  # of rows solutions are packed into; None: one each
    microbatches: int = 1  # parts of a batch whose gradients are added up


@dataclasses.dataclass(frozen=True)
class DynamicSampling:
    """Draws on until every group holds right and wrong answers (DAPO).

    Groups without both are replaced by groups of the next problems. What is left of
    them after the last round stays in the batch, where it teaches nothing.
    """

    rounds: int = 10  # rollout batches drawn for one step, at most


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The rollout batch of one step.

    Nothing here truncates the distribution: top-p or top-k would make the ratio of
    the update wrong.
    """

    prompts: int  # P
    responses: int  # G, per prompt
    prompt_length: int  # L, in tokens
    response_length: int  # T, in tokens
    temperature: float = 1.0
    dynamic: DynamicSampling | None = None


@dataclasses.dataclass(frozen=True)
class OverlongPenalty:
    """Takes from the reward of responses that come close to the limit (DAPO)."""

    buffer: int  # tokens before the limit where it begins
    factor: float = 1.0  # what it takes at the limit


@dataclasses.dataclass(frozen=True)
class OverlongFilter:
    """Keeps responses that were cut off at the limit out of the loss (DAPO)."""

    in_group: bool = True  # whether the others of the group are still compared with it


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is ascended. Parts that are None are off."""

    gate: Any  # a gate from `objectives.gates`, or one of yours
    # From `objectives.advantages`, or one of yours: how much better than its group a
    # response, or each token of it, is. `advantages.smoothed` remembers earlier visits.
    advantage: tyro.conf.Fixed[Callable] = advantages.group_normalized
    # From `objectives.token_weights`: how much each token counts.
    weight: tyro.conf.Fixed[Callable] = token_weights.token_mean
    # Whose log-probabilities the ratio is anchored to: those the trainer computes
    # before the first update (as in the papers), or those the sampler stored.
    anchor: Literal["trainer", "sampler"] = "trainer"
    # For a sampler that is not the trainer, from `objectives.correction`: a factor of
    # each token's weight.
    correction: Any = None
    # Likewise: a rule for the tokens that are left out.
    rejection: Any = None
    overlong_penalty: OverlongPenalty | None = None
    overlong_filter: OverlongFilter | None = None
    # A price on the distance from the policy at the start of reinforcement learning.
    kl_in_reward: kl.Penalty | None = None
    # Of the advantage, at every update.
    shaping: advantages.EntropyAdvantage | None = None
    # Added to the loss, see `objectives.terms`: `kl.Penalty`, `terms.EntropyBonus`,
    # `terms.Imitation`, or one of yours.
    terms: tuple = ()

    @property
    def needs(self):
        """What its parts say they need: a set of names out of `terms.NEEDS`."""
        parts = (self.gate, self.advantage, self.kl_in_reward, self.shaping)
        return {name for part in (*parts, *self.terms) for name in needs_of(part)}


@dataclasses.dataclass(frozen=True)
class Updates:
    """How a rollout batch is used."""

    minibatches: int  # optimizer updates per pass; each has prompts / minibatches
    epochs: int = 1  # passes over the batch
    microbatches: int = 1  # parts whose gradients are added up, to save memory


@dataclasses.dataclass(frozen=True)
class Grading:
    """How answers are checked, by default in processes of their own."""

    # A function of (response, gold) that returns a `rewards.Verdict`, a bool or a
    # finite number: our checker, one of `rewards.graders`, or one of yours, which may
    # declare with `rewards.grader` what it reads. It has to fit the template.
    grader: tyro.conf.Fixed[Callable] = grade
    workers: int = 2  # processes
    deadline: float = 1.0  # seconds for one answer


@dataclasses.dataclass(frozen=True)
class Validation:
    """Problems the policy is measured on, and never trained on."""

    source: Any  # a `data.problems.Source`
    problems: int = 256  # the first of the source
    every: int = 10  # steps
    temperature: float = 0.0  # 0 is greedy
    samples: int = 1  # responses to each problem


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run depends on."""

    policy: DecoderConfig | Checkpoint  # from scratch, or pretrained
    tokenizer: Any  # a `data.tokenizer.Tokenizer`
    train_set: Any  # a `data.problems.Source`
    validation: Validation
    sampling: Sampling
    objective: Objective
    optimization: Optimization
    updates: Updates
    steps: int  # rollout batches of reinforcement learning
    sft: Sft | None = None
    template: Any = templates.PLAIN  # a `Template`, or a `data.chat.ChatTemplate`
    grading: Grading = Grading()
    seed: int = 0  # of parameters, orders and draws
    fsdp: int = 1  # devices that share one copy of the policy
    checkpoint_every: int = 10  # steps between checkpoints
    rollouts_every: int = 10  # steps between rollouts written as text

    @property
    def decoder(self):
        """The `DecoderConfig` of the policy; that of a checkpoint is read there."""
        return config_of(self.policy)

    @property
    def updates_per_step(self):
        """Optimizer updates made on one rollout batch."""
        return self.updates.minibatches * self.updates.epochs
