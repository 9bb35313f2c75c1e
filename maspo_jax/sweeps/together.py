"""Runs that differ in nothing but numbers, trained together by the same programs.

Such numbers are the settings of the gate and of all else that the loss is made of, the
learning rate and the other settings that the optimizer holds as arrays, the price on
the KL in the reward, and the seed. Every array of a run has one more axis here, in
front, of K runs. On a CPU, one run after the other goes through a program: a product
over K runs is no faster there than K products. On other devices they go side by side.

What a run computes is what it computes alone, to the rounding of sums.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from maspo_jax.config import serialization
from maspo_jax.data.prompts.render import render_prompts
from maspo_jax.learning import batches, learner
from maspo_jax.learning.optimizer import hyperparameters
from maspo_jax.objectives.terms import method_of
from maspo_jax.rollout import generate, grading, memory, responder, worker
from maspo_jax.rollout.batching import plan_batches
from maspo_jax.runs.keys import key_for
from maspo_jax.types import TrainState

# Settings that may differ between runs of a group, beside those of `_METHOD`.
TRACED = (
    "seed",
    "optimization.learning_rate",
    "optimization.weight_decay",
    "optimization.max_grad_norm",
)
_METHOD = ("gate", "advantage_shaping", "terms", "kl_in_reward")  # of the objective


def reason_alone(experiment):
    """Returns why a run has to be trained on its own, or None."""
    updates = experiment.updates
    reasons = {
        "sampling.dynamic": experiment.sampling.dynamic is not None,
        "updates.row_length": updates.row_length is not None,
        "updates.length_buckets": updates.length_buckets > 1,
        "fsdp": experiment.fsdp > 1,
        "tensor": experiment.tensor > 1,
    }
    return next((name for name, stands in reasons.items() if stands), None)


def group_of(experiment):
    """Returns a text that is the same for all experiments that train together."""
    return json.dumps(_static(experiment))


def differing(experiments):
    """Returns the names of the traced settings that differ within a group."""
    tables = [_leaves(experiment) for experiment in experiments]
    names = dict.fromkeys(name for table in tables for name in table)
    return [n for n in names if len({json.dumps(t.get(n)) for t in tables}) > 1]


def _leaves(experiment):
    return serialization.leaves(serialization.to_json(experiment))


def _static(experiment):
    """Returns all leaves of an experiment but those that may differ in a group."""
    leaves, objective = _leaves(experiment), experiment.objective
    traced = {*TRACED}
    for part in _METHOD:
        # Of a setting that is no leaf of the part, as a pytree, stays what it holds.
        held = jax.tree_util.tree_flatten_with_path(getattr(objective, part))[0]
        for path, value in held:
            if type(value) in (int, float):
                inside = jax.tree_util.keystr(path, simple=True, separator=".")
                traced.add(f"objective.{part}.{inside}")
    return {name: leaves[name] for name in leaves if name not in traced}


def stack(trees):
    """Returns the numbers and arrays of several trees, stacked in front."""

    def one(*leaves):
        if isinstance(leaves[0], jax.Array):
            return jnp.stack(leaves)
        whole = all(type(leaf) is int for leaf in leaves)
        return np.stack(leaves) if not whole else np.array(leaves, np.int32)

    stacked = jax.tree.map(one, *trees)
    narrow = lambda x: x.astype(np.float32) if x.dtype == np.float64 else x
    return jax.tree.map(narrow, stacked)


def pick(tree, place):
    """Returns the arrays of one run out of those of all."""
    leaves = jax.tree.leaves(tree)
    if leaves and all(isinstance(leaf, jax.Array) for leaf in leaves):
        return _pick(tree, place)  # one program for all places
    return jax.tree.map(lambda leaf: leaf[place], tree)


@jax.jit
def _pick(tree, place):
    return jax.tree.map(lambda leaf: leaf[place], tree)


@dataclasses.dataclass(frozen=True)
class Programs:
    """What a group of runs computes, compiled once for K of them. `build` makes one."""

    learner: learner.Learner  # of one of the runs: what they have in common
    sample: Callable  # policies, [K, P, ...] Prompts, [K] keys -> Rollout
    score: Callable  # policies, Sequences -> [K, N, T]
    assemble: Callable  # as `batches.make_assemble`, behind prices on the KL
    take: Callable  # batches, [K, P / M] -> TrainBatch
    update: Callable  # states, batches, Methods -> states, UpdateMetrics, TokenTrace
    answer: Callable  # policies, keys, Prompts, [P], [P], SamplingParams -> Rollout


def build(experiment, mesh):
    """Returns the `Programs` of the group of an experiment. Compiles nothing yet.

    Args:
        experiment: one of the group.
        mesh: of one device.
    """
    parts = learner.build(experiment, mesh)
    each = functools.partial(_each, mesh.devices.flat[0].platform)
    objective, sampling = experiment.objective, experiment.sampling
    params = worker.sampling_params(experiment, None)
    eos_tokens = experiment.tokenizer.eos_tokens

    def sample(policy, prompts, key):
        return generate.sample(policy, prompts, key, params, mesh)

    def assemble(price, *arguments):
        own = dataclasses.replace(objective, kl_in_reward=price)
        length = sampling.response_length
        made = batches.make_assemble(own, sampling.responses, length, eos_tokens, mesh)
        return made(*arguments)

    def answer(policy, key, prompts, number, first, decoding):
        draw = lambda policy, key: responder.draw(
            policy, prompts, key, number, first, decoding, mesh
        )
        return each(draw)(policy, key)

    return Programs(
        parts,
        sample=jax.jit(each(sample)),
        score=jax.jit(each(parts.logprobs)),
        assemble=jax.jit(each(assemble)),
        take=jax.jit(each(parts.take)),
        update=jax.jit(each(parts.update.function), donate_argnums=0),
        answer=jax.jit(answer, static_argnums=5),
    )


def _each(platform, function):
    """Returns a function of the arrays of K runs, given that of one."""

    @functools.wraps(function)  # by whose name the program is known
    def of_runs(*arguments):
        if platform == "cpu":
            return jax.lax.map(lambda one: function(*one), arguments)
        return jax.vmap(function)(*arguments)

    return of_runs


def first_states(experiments, programs, policies):
    """Returns the `TrainState` of K runs before their first update.

    Args:
        experiments: of the runs.
        programs: of their group.
        policies: of each, a `Decoder`.
    """
    parts = programs.learner
    init = jax.jit(parts.optimizer.init)(policies[0])
    count = len(experiments)
    opt_state = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), init
    )
    swept = stack([hyperparameters(each.optimization) for each in experiments])
    held = {name: jnp.asarray(value) for name, value in swept.items()}
    state = TrainState(stack(policies), opt_state._replace(hyperparams=held))
    # Placed as updates leave it, or the first one would be a program of its own.
    return jax.device_put(state, _place(programs))


def skeleton_of(programs, count):
    """Returns the shapes and places of the `TrainState` of so many runs."""
    place = _place(programs)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (count, *leaf.shape), leaf.dtype, sharding=place
        ),
        programs.learner.skeleton,
    )


def _place(programs):
    return jax.NamedSharding(programs.learner.mesh, jax.P())


@dataclasses.dataclass
class Group:
    """K runs of a group, and what they have learned so far."""

    experiments: list
    programs: Programs
    verifier: Any
    streams: dict  # {seed: `ProblemStream`}; runs of one seed read the same problems
    histories: list  # `PromptHistory` of each
    state: TrainState
    reference: Any = None  # policies, if the objective needs them
    ended: set = dataclasses.field(
        default_factory=set
    )  # places of those that are left out

    def __post_init__(self):
        """Stacks what the programs take of the experiments."""
        objectives = [each.objective for each in self.experiments]
        self._methods = stack([method_of(objective) for objective in objectives])
        self._prices = stack([objective.kl_in_reward for objective in objectives])

    @property
    def common(self):
        """An experiment of the group: what is no number is that of all of them."""
        return self.experiments[0]

    @property
    def alive(self):
        """The places of the runs that go on."""
        return [k for k in range(len(self.experiments)) if k not in self.ended]

    def collect(self, step, clock):
        """Returns the `RewardedRollout` of each run, and the `Rollout` of all.

        Those of runs that have ended are None, and earn nothing.

        Args:
            step: which.
            clock: a `Clock`.
        """
        sampling, count = self.common.sampling, len(self.experiments)
        seeds = [experiment.seed for experiment in self.experiments]
        with clock("reading problems"):
            taken = {s: stream.take(sampling.prompts) for s, stream in self._each_seed}
            problems = [taken[seed][0] for seed in seeds]
            prompts = stack([taken[seed][1] for seed in seeds])
        with clock("sampling"):
            keys = {seed: key_for("sampling", seed, step) for seed in taken}
            keys = jnp.stack([keys[seed] for seed in seeds])
            rollout = self.programs.sample(self.state.policy, prompts, keys)
            for _, stream in self._each_seed:
                stream.prepare()  # while the device draws
            version = (step - 1) * self.common.updates_per_step
            rows = rollout.sampler_logprob.shape[1]
            versions = jnp.full((count, rows), version, jnp.int32)
            rollout = rollout.replace(policy_version=versions)
            sequences = jax.device_get(rollout.sequences)
        with clock("grading"):
            graded = self._grade(problems, sequences)
        found = [None] * count
        for k in self.alive:
            reward, correct, metrics = worker.describe(graded[k], sampling.responses)
            if getattr(self.common.grading.grader, "steps", False):
                reward = grading.step_rewards(
                    self.common.tokenizer, pick(sequences, k), graded[k]
                )
            found[k] = worker.RewardedRollout(
                problems[k],
                None,
                reward,
                correct,
                graded[k],
                metrics,
                np.arange(rows, dtype=np.int32),
                (rows,),
            )
        return found, rollout

    @property
    def _each_seed(self):
        return self.streams.items()

    def _grade(self, problems, sequences):
        """Returns {place: the `Response`s} of the runs that go on."""
        alive = self.alive
        if not alive:
            return {}
        chosen = jax.tree.map(
            lambda leaf: leaf[np.array(alive)].reshape(-1, *leaf.shape[2:]), sequences
        )
        responses = grading.grade_responses(
            self.verifier,
            self.common.tokenizer,
            [problem for k in alive for problem in problems[k]],
            chosen,
            self.common.tokenizer.eos_tokens,
        )
        rows = len(responses) // len(alive)
        return {k: responses[i * rows :][:rows] for i, k in enumerate(alive)}

    def learn(self, step, rewarded, rollout, clock):
        """Makes the updates of a step.

        Args:
            step: which.
            rewarded: the `RewardedRollout` of each run, or None.
            rollout: the `Rollout` of all.
            clock: a `Clock`.

        Returns:
            The metrics of the batches, a list of `UpdateMetrics`, and the last
            minibatch with its trace: all of K runs, the numbers as NumPy.
        """
        experiment, programs = self.common, self.programs
        with clock("updating"):
            logprob = reference = history = None
            if experiment.scores_first:
                logprob = programs.score(self.state.policy, rollout.sequences)
            if self.reference is not None:
                reference = programs.score(self.reference, rollout.sequences)
            nothing = next((each for each in rewarded if each is not None), None)
            each = lambda name: np.stack(
                [
                    getattr(one, name)
                    if one is not None
                    else np.zeros_like(getattr(nothing, name))
                    for one in rewarded
                ]
            )
            if "prompt_stats" in experiment.objective.needs:
                shared = nothing.problems
                history = stack(
                    [
                        past.before(one.problems if one else shared)
                        for past, one in zip(self.histories, rewarded, strict=True)
                    ]
                )
            batch, history, metrics = programs.assemble(
                self._prices,
                rollout,
                logprob,
                each("reward"),
                each("correct"),
                reference,
                history,
            )
            if history is not None:
                history = jax.device_get(history)
                for k in self.alive:
                    self.histories[k].record(rewarded[k].problems, pick(history, k))
            orders = np.stack([self._order(run, step) for run in self.experiments])
            updates = []
            for number in range(experiment.updates_per_step):
                minibatch = programs.take(batch, orders[:, number])
                self.state, measured, trace = programs.update(
                    self.state, minibatch, self._methods
                )
                updates.append(measured)
            metrics, updates = jax.device_get((metrics, updates))
        return metrics | updates[0].compared, updates, minibatch, trace

    def _order(self, experiment, step):
        updates = experiment.updates
        return batches.minibatch_order(
            experiment.seed,
            step,
            experiment.sampling.prompts,
            updates.minibatches,
            updates.epochs,
        )

    def validate(self):
        """Returns what `responder.accuracy` does, {place: dict}, of each run alive."""
        experiment, asked = self.common, self.common.validation
        mesh = self.programs.learner.mesh
        problems = [asked.source[index] for index in range(asked.problems)]
        batch = memory.validation_batch(experiment, mesh, memory.memory_limit())
        plan = plan_batches(len(problems), asked.samples, batch, 1)
        how = responder.make_responder(
            experiment,
            self.verifier,
            mesh,
            None,
            experiment.sampling.prompt_length,
            responses=plan.responses,
            length=experiment.sampling.response_length,
            temperature=asked.temperature,
            gather=experiment.sampling.gather,
        )
        seeds = [each.seed for each in self.experiments]
        keys = {seed: key_for("evaluation", seed) for seed in dict.fromkeys(seeds)}
        keys = jnp.stack([keys[seed] for seed in seeds])
        total = len(problems) * asked.samples
        tables = {k: [] for k in self.alive}
        for start in range(0, total, plan.prompts * plan.responses):
            number, first = plan.batch(start)
            these = [problems[index] for index in number]
            prompts = render_prompts(
                these, how.template, how.tokenizer, how.prompt_length
            )
            rollout = self.programs.answer(
                self.state.policy,
                keys,
                prompts,
                np.asarray(number, np.uint32),
                np.asarray(first, np.uint32),
                how.decoding,
            )
            sequences = jax.device_get(rollout.sequences)
            graded = self._grade([these] * len(seeds), sequences)
            for k in tables:
                tables[k].append(responder.score_table(graded[k]))
        return {
            k: responder.averages(np.concatenate(rows)[:total])
            for k, rows in tables.items()
        }

    def keep(self, places):
        """Goes on with some of the runs only.

        Args:
            places: of those.
        """
        choose = lambda list_: [list_[place] for place in places]
        self.experiments = choose(self.experiments)
        self.histories = choose(self.histories)
        chosen = np.array(places)
        self.state = jax.tree.map(lambda leaf: leaf[chosen], self.state)
        if self.reference is not None:
            self.reference = jax.tree.map(lambda leaf: leaf[chosen], self.reference)
        self.ended = {places.index(k) for k in self.ended & {*places}}
        seeds = {each.seed for each in self.experiments}
        self.streams = {s: one for s, one in self.streams.items() if s in seeds}
        self.__post_init__()
