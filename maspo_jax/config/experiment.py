"""An experiment: one frozen dataclass that says everything a run depends on.

An experiment file builds an `Experiment` named `experiment`. The command line may
override any leaf of it, and nothing else.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import tyro

from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import ChatTemplate
from maspo_jax.data.prompts.templates import Template
from maspo_jax.data.prompts.tokenizer import Tokenizer
from maspo_jax.data.sources import Source
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.models.huggingface.load import Checkpoint, config_of
from maspo_jax.objectives import advantages, kl, token_weights
from maspo_jax.objectives.overlong import OverlongFilter, OverlongPenalty
from maspo_jax.objectives.terms import needs_of, parts_of
from maspo_jax.rewards import grade
from maspo_jax.settings import setting


@dataclasses.dataclass(frozen=True)
class Optimization:
    """AdamW behind a limit on the global norm of the gradient."""

    learning_rate: float = setting(interval="(0, inf)")
    warmup_updates: int = setting(0, "[0, inf)")  # of linear rise to that rate
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # behind it
    final_fraction: float = setting(0.1, "[0, 1]")  # of the rate, where it ends
    beta1: float = setting(0.9, "[0, 1)")
    beta2: float = setting(0.95, "[0, 1)")
    epsilon: float = setting(1e-8, "(0, inf)")
    weight_decay: float = setting(0.0, "[0, inf)")  # of matrices only
    max_grad_norm: float = setting(1.0, "(0, inf)")
    # Of both of Adam's moments, between updates. Into bfloat16 they are rounded at
    # random, or changes of a part in a thousand, of beta2=0.999, would all be lost.
    moments_dtype: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of supervised updates on the solutions of one source."""

    source: Source
    updates: int = setting(interval="[1, inf)")  # of the optimizer


@dataclasses.dataclass(frozen=True)
class Sft:
    """Supervised training on worked solutions, before the reinforcement learning."""

    phases: tuple[Phase, ...]
    optimization: Optimization
    batch: int = setting(64, "[1, inf)")  # solutions per update
    checkpoint_every: int = setting(200, "[1, inf)")  # updates
    prompt_length: int | None = setting(None, "[1, inf)")  # None: as in sampling
    response_length: int | None = setting(None, "[1, inf)")  # likewise
    row_length: int | None = setting(None, "[2, inf)")  # None: a solution a row
    microbatches: int = setting(1, "[1, inf)")  # parts whose gradients are added up
    # Or their size: tokens of one of them on a device, padding included, at most.
    microbatch_tokens: int | None = setting(None, "[1, inf)")


@dataclasses.dataclass(frozen=True)
class DynamicSampling:
    """Draws on until the rewards within every group differ (DAPO).

    Groups whose responses all earned the same are replaced by groups of the next
    problems. What is left of them after the last round stays in the batch, where it
    teaches nothing. A round draws a batch, or a half or a quarter of one where that
    should be enough.
    """

    rounds: int = setting(10, "[1, inf)")  # draws for one step, at most


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The rollout batch of one step.

    Nothing here truncates the distribution: top-p or top-k would make the ratio of
    the update wrong.
    """

    prompts: int = setting(interval="[1, inf)")  # P
    responses: int = setting(interval="[1, inf)")  # G, per prompt
    prompt_length: int = setting(interval="[1, inf)")  # L, in tokens
    response_length: int = setting(interval="[1, inf)")  # T, in tokens
    temperature: float = setting(1.0, "(0, inf)")
    dynamic: DynamicSampling | None = None
    # When devices along `fsdp` gather the policy they draw from: "once" a step, each
    # then holds all of it, or "layer", anew for every token: slower, with the memory
    # of one layer. Of rollouts and validation; an update gathers each layer always.
    gather: Literal["once", "layer"] = "once"
    # Prompts drawn at a time; None: the most with which the memory of the devices
    # holds a quarter of their responses at a time.
    wave: int | None = setting(None, "[1, inf)")
    # Responses that a device draws at a time, each slot going on with the next when
    # one has ended; None: as many as the memory holds. Fewer need less memory, and
    # wait for fewer.
    slots: int | None = setting(None, "[1, inf)", none="as many as the memory holds")

    @property
    def row_length(self):
        """Tokens of a prompt and its response, padding included."""
        return self.prompt_length + self.response_length


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
    advantage_shaping: advantages.EntropyAdvantage | None = None
    # Added to the loss, see `objectives.terms`: `kl.Penalty`, `terms.EntropyBonus`,
    # `terms.Imitation`, or one of yours.
    terms: tuple = ()

    @property
    def needs(self):
        """What its parts say they need: a set of names out of `terms.NEEDS`."""
        return {name for _, _, part in parts_of(self) for name in needs_of(part)}


@dataclasses.dataclass(frozen=True)
class Updates:
    """How a rollout batch is used."""

    minibatches: int = setting(interval="[1, inf)")  # optimizer updates per pass
    epochs: int = setting(1, "[1, inf)")  # passes over the batch
    microbatches: int = setting(1, "[1, inf)")  # whose gradients are added up
    # Or their size: tokens of one of them on a device, prompt, response and padding,
    # at most. The log-probabilities before the first update are computed likewise.
    microbatch_tokens: int | None = setting(None, "[1, inf)")
    # Tokens of a row into which responses are packed with their prompts, for the
    # updates and for the log-probabilities before; None: a response a row. The number
    # of rows follows from the lengths, and of microbatches there are as few as are no
    # larger than those above. An attention has to know texts apart: cudnn does not.
    row_length: int | None = setting(None, "[2, inf)")
    # For any attention: microbatches of responses of like length, read in rows of one
    # of so many widths. Only of several microbatches some are narrower. Each width is
    # compiled, which takes as long as an update of its own.
    length_buckets: int = setting(1, "[1, 16]")


@dataclasses.dataclass(frozen=True)
class Grading:
    """How answers are checked, by default in processes of their own."""

    # A function of (response, gold) that returns a `rewards.Verdict`, a bool or a
    # finite number: our checker, one of `rewards.graders`, or one of yours, which may
    # declare with `rewards.grader` what it reads. It has to fit the template.
    grader: tyro.conf.Fixed[Callable] = grade
    workers: int = setting(2, "[1, inf)")  # processes
    deadline: float = setting(1.0, "(0, inf)")  # seconds for one answer
    # Share of reference answers that our checker may be unable to read: only their own
    # spelling earns a reward. More than that are refused before a run.
    unreadable: float = setting(0.1, "[0, 1]")


@dataclasses.dataclass(frozen=True)
class Validation:
    """Problems the policy is measured on, and never trained on."""

    source: Source
    problems: int = setting(256, "[1, inf)")  # the first of the source
    every: int = setting(10, "[1, inf)")  # steps
    temperature: float = setting(0.0, "[0, inf)")  # 0 is greedy
    samples: int = setting(1, "[1, inf)")  # responses to each problem


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything a run depends on."""

    policy: DecoderConfig | Checkpoint  # from scratch, or pretrained
    tokenizer: Tokenizer
    train_set: Source
    validation: Validation
    sampling: Sampling
    objective: Objective
    optimization: Optimization
    updates: Updates
    steps: int = setting(interval="[0, inf)")  # rollout batches
    sft: Sft | None = None
    template: Template | ChatTemplate = templates.PLAIN
    grading: Grading = Grading()
    seed: int = setting(0, "[0, 4294967296)")  # of parameters, orders and draws
    fsdp: int = setting(1, "[1, inf)")  # devices that share one copy of the policy
    # Devices of one process that share the heads of the policy while they draw, and
    # one copy of it with those along `fsdp` while it is updated.
    tensor: int = setting(1, "[1, inf)")
    checkpoint_every: int = setting(10, "[1, inf)")  # steps between checkpoints
    checkpoint_minutes: float | None = setting(None, "(0, inf)")  # or so many minutes
    rollouts_every: int = setting(10, "[1, inf)")  # steps between those kept as text

    @property
    def decoder(self):
        """The `DecoderConfig` of the policy; that of a checkpoint is read there."""
        return config_of(self.policy)

    @property
    def updates_per_step(self):
        """Optimizer updates made on one rollout batch."""
        return self.updates.minibatches * self.updates.epochs

    @property
    def scores_first(self):
        """Whether log-probabilities take a pass of their own before the first update.

        They do not where the ratio is anchored to the sampler, nor where a step has one
        update, whose own they are: unless something else reads them before.
        """
        objective = self.objective
        readers = objective.correction, objective.rejection, objective.kl_in_reward
        anchored = objective.anchor == "trainer" and self.updates_per_step > 1
        return anchored or any(reader is not None for reader in readers)

    @property
    def sft_row_length(self):
        """Tokens of a row of supervised training, padding included."""
        sft, sampling = self.sft, self.sampling
        return sft.row_length or (
            (sft.prompt_length or sampling.prompt_length)
            + (sft.response_length or sampling.response_length)
        )
