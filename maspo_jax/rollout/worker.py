"""The worker: draws the rollout batch of a step, grades it, and draws again.

Prompts --draw--> Rollout --grade--> Response --collect--> RewardedRollout

It knows nothing of how a policy learns: it is given one, and returns records.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from maspo_jax import config, distributed
from maspo_jax.rewards import Verifier
from maspo_jax.rewards.verdict import OUTCOMES, UNDECIDED, UNPROVED
from maspo_jax.rollout import memory, waves
from maspo_jax.rollout.generate import SamplingParams, sample
from maspo_jax.rollout.grading import grade_responses, step_rewards
from maspo_jax.rollout.weights import copy_for_sampling
from maspo_jax.runs.keys import key_for
from maspo_jax.runs.metrics_log import Clock
from maspo_jax.types import Rollout, rows_of


@dataclasses.dataclass(frozen=True)
class RewardedRollout:
    """A rollout batch, what it earned, and what is said of all that was drawn for it.

    The reward may be that of each response or of each token, as a grader of steps
    would give it, zero on padding: what a response earned is then the sum.
    """

    problems: list  # P, of all processes
    rollout: Rollout  # of N rows, on the devices
    reward: np.ndarray  # [P, G] or [N, T] float32, of all processes
    correct: np.ndarray  # [N] bool, of all processes
    responses: list  # `Response`s of this process, to all that was drawn, in order
    metrics: dict  # of plain numbers, over all processes and all that was drawn
    # [N] int32: the row each comes from, counted through all draws; None: the only one
    origin: np.ndarray | None = None
    drawn: tuple[int, ...] = ()  # rows of each draw, of all processes; (): one, of N

    @property
    def outcomes(self):
        """What each response earned, [P, G]."""
        responses = len(self.correct) // len(self.problems)
        return self.reward.reshape(len(self.problems), responses, -1).sum(axis=-1)

    @property
    def verdicts(self):
        """The verdicts on all that this process drew for the batch."""
        return [response.verdict for response in self.responses]

    def own_responses(self):
        """Returns {row of the batch: its `Response`}, of those this process graded.

        Dynamic sampling moves groups: such a row may be held by another process.
        """
        size = len(self.correct)
        origin = np.arange(size) if self.origin is None else self.origin
        found, begin, graded = {}, 0, 0
        for rows in self.drawn or (size,):
            own = distributed.host_slice(rows)
            here = (begin + own.start <= origin) & (origin < begin + own.stop)
            for row in np.flatnonzero(here):
                place = origin[row] - begin - own.start
                found[int(row)] = self.responses[graded + place]
            begin, graded = begin + rows, graded + own.stop - own.start
        return found


@dataclasses.dataclass(frozen=True)
class Worker:
    """Draws and grades for an experiment. `build` makes one."""

    experiment: config.Experiment
    mesh: jax.sharding.Mesh
    verifier: Verifier
    sampling: SamplingParams
    stream: Any  # a `ProblemStream`
    clock: Clock
    wave: int  # prompts drawn at a time

    def collect(self, policy, step, between=lambda: None):
        """Returns the `RewardedRollout` batch of a step.

        With dynamic sampling, groups whose responses all earned the same are replaced
        by groups of the next problems, until none is left or all rounds are used. A
        round draws about as many as it takes, by the share that had something to teach.

        Args:
            policy: a `Decoder`, which draws.
            step: which; it decides the keys, and the version of the policy.
            between: called before each further wave, and before it is drawn again.
        """
        dynamic = self.experiment.sampling.dynamic
        with self.clock("sampling"):
            policy = copy_for_sampling(policy, self.mesh, self.sampling.gather)
        held = self.rewarded(policy, step, between=between)
        if dynamic is None:
            return held
        drawn, taught, groups = [held.metrics], 0, 0
        fresh, prompts = held, len(held.problems)
        while len(drawn) < dynamic.rounds:
            missing = int((~informative(held.outcomes)).sum())
            if not missing:
                break
            between()
            taught += int(informative(fresh.outcomes).sum())
            groups += len(fresh.problems)
            count = draw_size(missing, taught / groups, prompts, self.mesh.size)
            fresh = self.rewarded(policy, step, len(drawn), count, between)
            drawn.append(fresh.metrics)
            held = self.fill(held, fresh)
        metrics = {
            name: float(np.average([part[name] for part in drawn], weights=held.drawn))
            for name in held.metrics
        }
        metrics["tokens"] = sum(part["tokens"] for part in drawn)
        metrics["response_length/max"] = max(
            part["response_length/max"] for part in drawn
        )
        metrics["rounds"] = len(drawn)
        metrics["frac_groups_informative"] = float(np.mean(informative(held.outcomes)))
        return dataclasses.replace(held, metrics=metrics)

    def rewarded(self, policy, step, attempt=0, count=None, between=lambda: None):
        """Returns the `RewardedRollout` of the next problems, drawn once.

        A wave is decoded and graded while the next one is drawn.

        Args:
            policy: a `Decoder`, as `copy_for_sampling` returns it.
            step: which.
            attempt: how many batches were drawn for this step before.
            count: of problems; None for those of a whole batch.
            between: called before each wave but the first.
        """
        count = count or self.experiment.sampling.prompts
        own = distributed.host_slice(count)
        with self.clock("reading problems"):
            problems, prompts = self.stream.take(count)
            prompts = jax.tree.map(lambda rows: rows[own], prompts)
        plan = waves.plan_waves(count, self.wave, self.mesh)
        with self.clock("sampling"):
            draw = self.draw(policy, prompts, plan, step, attempt)
            drawn = waves.in_turn(draw, plan.count, between)
            self.stream.prepare()  # while the devices draw
        with self.clock("updating", shown="waiting for the updates"):
            jax.block_until_ready(policy)  # if those that made it still go on
        rollout, responses, reward_of_tokens = self.receive(drawn, plan, problems[own])
        with self.clock("writing"):
            reward, correct, metrics = describe(responses, self.sampling.responses)
            if reward_of_tokens is not None:
                reward = distributed.all_gather_hosts(reward_of_tokens)
        rows = np.arange(len(correct), dtype=np.int32)
        return RewardedRollout(
            problems, rollout, reward, correct, responses, metrics, rows, (len(rows),)
        )

    def draw(self, policy, prompts, plan, step, attempt=0):
        """Returns a function that draws a wave: a `Rollout`, under way, of its number.

        Args:
            policy: a `Decoder`, as `copy_for_sampling` returns it.
            prompts: the `Prompts` of this process.
            plan: the `WavePlan`.
            step: which.
            attempt: dynamic sampling draws more than once; which time.
        """
        seed = self.experiment.seed
        counts = (step, attempt) if attempt else (step,)
        key = key_for("resampling" if attempt else "sampling", seed, *counts)
        # Drawn by the policy that is trained next: all updates of all steps before.
        version = (step - 1) * self.experiment.updates_per_step
        first = distributed.host_slice(plan.prompts).start

        def draw(wave):
            places = plan.own_prompts_of(wave)
            versions = np.full(len(places) * self.sampling.responses, version, np.int32)
            numbers = (first + places).astype(np.int32)
            rows = jax.tree.map(lambda rows: rows[places], prompts), numbers, versions
            asked, numbers, versions = distributed.shard_rows(rows, self.mesh)
            rollout = sample(policy, asked, key, self.sampling, self.mesh, numbers)
            return rollout.replace(policy_version=versions)

        return draw

    def receive(self, drawn, plan, problems):
        """Grades the waves of a draw as they come.

        Args:
            drawn: an iterator of the `Rollout` of each.
            plan: the `WavePlan`.
            problems: of this process.

        Returns:
            The `Rollout` of all of them, the `Response`s of this process, in order, and
            what each of its tokens earned, [n, T], or None if only responses earn.
        """
        rollouts, responses, rewards = [], {}, {}
        for wave in range(plan.count):
            places = plan.own_prompts_of(wave)
            rows = rows_of(places, self.sampling.responses).tolist()
            with self.clock("sampling"):
                rollouts.append(next(drawn))
                sequences = distributed.local_rows(rollouts[-1].sequences)
            # Beside the sampling of the next wave it takes no time of its own.
            last = wave + 1 == plan.count
            with self.clock("grading" if last else "sampling", shown="grading"):
                graded = self.grade([problems[place] for place in places], sequences)
                responses |= zip(rows, graded, strict=True)
                if getattr(self.experiment.grading.grader, "steps", False):
                    tokenizer = self.experiment.tokenizer
                    earned = step_rewards(tokenizer, sequences, graded)
                    rewards |= zip(rows, earned, strict=True)
        in_order = lambda found: [found[row] for row in sorted(found)]
        rollout = waves.join(rollouts, plan, self.mesh)
        rewards = np.stack(in_order(rewards)) if rewards else None
        return rollout, in_order(responses), rewards

    def grade(self, problems, sequences):
        """Returns the `Response`s of this process to its problems.

        Args:
            problems: of this process.
            sequences: the `Sequences` of this process, as NumPy.
        """
        tokenizer, params = self.experiment.tokenizer, self.sampling
        return grade_responses(
            self.verifier, tokenizer, problems, sequences, params.eos_tokens
        )

    def fill(self, held, fresh):
        """Returns a batch with what can be learned from of two others.

        Groups of `held` that all earned the same give way to groups of `fresh` that did
        not, in order, as far as these go. What is left of `fresh` is dropped: the next
        step draws from its own policy.
        """
        size = self.sampling.responses
        places = np.flatnonzero(~informative(held.outcomes))
        better = np.flatnonzero(informative(fresh.outcomes))
        count, prompts = min(len(places), len(better)), len(held.problems)
        groups = np.arange(prompts, dtype=np.int32)
        groups[places[:count]] = prompts + better[:count]
        both = lambda name: np.concatenate([getattr(held, name), getattr(fresh, name)])
        every = prompts + len(fresh.problems)
        later = fresh.origin + np.int32(sum(held.drawn))
        return dataclasses.replace(
            held,
            problems=[(held.problems + fresh.problems)[group] for group in groups],
            rollout=merge(held.rollout, fresh.rollout, groups, size, self.mesh),
            reward=both("reward").reshape(every, -1)[groups].reshape(held.reward.shape),
            correct=both("correct")[rows_of(groups, size)],
            origin=np.concatenate([held.origin, later])[rows_of(groups, size)],
            responses=held.responses + fresh.responses,
            drawn=held.drawn + fresh.drawn,
        )


def build(experiment, mesh, verifier, stream, clock, note):
    """Returns the `Worker` of an experiment. Compiles nothing yet.

    Args:
        experiment: the `Experiment`.
        mesh: the mesh.
        verifier: what grades, such as a `rewards.Verifier`.
        stream: the iterator of (problems, `Prompts`); as many batches are taken as are
            drawn.
        clock: the `Clock` that times its parts.
        note: called with a line on how much is drawn at a time, if not all.
    """
    sampling = experiment.sampling
    found = memory.drawn_at_a_time(experiment, mesh, memory.memory_limit())
    chosen = found or memory.least_at_a_time(sampling, mesh.size)
    wave, at_a_time = chosen.wave, chosen.rows(sampling.responses, mesh.size)
    rows = wave * sampling.responses // mesh.size
    if found is None:
        note(
            f"warning: {at_a_time} of {rows} responses at a time may not fit on a "
            "device; take shorter ones, fewer, a larger fsdp or tensor, "
            "policy.compute_dtype=bfloat16 or sampling.gather=layer"
        )
    if sampling.slots is not None and sampling.slots > rows:
        note(
            f"sampling.slots={sampling.slots}: a device draws {rows} responses at a "
            "time, all of them at once; give fewer, or None for as many as fit"
        )
    prompts = f"{wave} of {sampling.prompts} prompts at a time"
    if at_a_time < rows:
        note(
            f"drawing {prompts}, {at_a_time:,} of {rows:,} responses at a time on a "
            "device"
        )
    elif wave < sampling.prompts:
        note(f"drawing {prompts}, {wave * sampling.responses:,} responses")
    params = sampling_params(experiment, chosen.slots)
    return Worker(experiment, mesh, verifier, params, stream, clock, wave)


def sampling_params(experiment, slots):
    """Returns the `SamplingParams` of the training rollouts of an experiment.

    Args:
        experiment: the `Experiment`.
        slots: responses that a device draws at a time; None: all of a wave.
    """
    sampling, tokenizer = experiment.sampling, experiment.tokenizer
    return SamplingParams(
        sampling.responses,
        sampling.response_length,
        tokenizer.eos_tokens,
        tokenizer.pad_token_id,
        sampling.temperature,
        gather=sampling.gather,
        slots=slots,
    )


def draw_size(missing, share, prompts, devices):
    """Returns how many problems to draw for the groups that are missing.

    One of P, P / 2 and P / 4, so that few programs are compiled.

    Args:
        missing: groups, at least 1.
        share: of the groups drawn so far that had something to teach, of [0, 1].
        prompts: P.
        devices: their number, which every size is a multiple of.
    """
    sizes = [prompts // part for part in (4, 2) if prompts % (part * devices) == 0]
    enough = [size for size in sizes if size * share >= missing]
    return enough[0] if enough else prompts


def merge(held, fresh, groups, responses, mesh):
    """Returns a `Rollout` of P groups, picked from those of two.

    Args:
        held: a `Rollout` of P groups, and
        fresh: another, of as many or fewer.
        groups: [P] int32: those below P are of `held`, the next ones of `fresh`.
        responses: G.
        mesh: the mesh all of them are split over by rows.
    """
    return _merge(held, fresh, rows_of(groups, responses), mesh)


@jax.jit(static_argnames="mesh")
def _merge(held, fresh, rows, mesh):
    pick = lambda old, new: jax.numpy.concatenate([old, new])[rows]
    place = jax.NamedSharding(mesh, distributed.BATCH)
    return jax.lax.with_sharding_constraint(jax.tree.map(pick, held, fresh), place)


def informative(reward):
    """Returns which groups have something to compare. [P, G] -> [P] bool.

    Dynamic sampling (DAPO, arXiv 2503.14476) keeps these and draws again for the
    others. Pass what the verifier said, not a shaped reward: a length penalty makes
    every group of wrong answers look informative. A group of one never is.
    """
    return reward.max(axis=1) != reward.min(axis=1)


def describe(responses, group):
    """Puts together what all processes drew, in one exchange.

    Args:
        responses: the `Response`s of this process, groups side by side.
        group: G.

    Returns:
        The rewards, [P, G] float32, which responses are correct, [N] bool, and the
        metrics, a dict of numbers.
    """
    column = lambda read: np.array([read(response) for response in responses])
    correct = column(lambda one: one.verdict.outcome == "correct")
    reward = column(lambda one: one.reward).astype(np.float32)
    of_each = lambda value: np.repeat(value, group)
    columns = {
        "reward": reward,
        "response_length/mean": column(lambda one: one.length),
        "response_length/clip_ratio": column(lambda one: one.truncated),
        "frac_groups_all_correct": of_each(correct.reshape(-1, group).all(axis=1)),
        "frac_groups_all_wrong": of_each(~correct.reshape(-1, group).any(axis=1)),
        "frac_reward_zero_std": of_each(~informative(reward.reshape(-1, group))),
    }
    for outcome in OUTCOMES:
        of_outcome = column(lambda one, name=outcome: one.verdict.outcome == name)
        columns[f"verifier/{outcome}"] = of_outcome
    undecided = column(lambda one: one.verdict.outcome in UNDECIDED)
    columns["verifier/undecided"] = undecided
    columns["verifier/unproved"] = column(lambda one: one.verdict.rule == UNPROVED)
    everywhere = distributed.all_gather_hosts(np.stack([*columns.values()], axis=1))
    table = dict(zip(columns, everywhere.T, strict=True))  # {name: [N]}
    metrics = dict(zip(columns, everywhere.mean(axis=0).tolist(), strict=True))
    metrics["response_length/max"] = float(table["response_length/mean"].max())
    metrics["tokens"] = round(metrics["response_length/mean"] * len(everywhere))
    reward = table["reward"].astype(np.float32).reshape(-1, group)
    return reward, table["verifier/correct"].astype(bool), metrics
