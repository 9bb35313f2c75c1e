"""Faults of the learner, the optimizer, the loop and supervised training."""

from support.faults import Fault

LEARNER, BATCHES = "learning/test_learner.py", "learning/test_batches.py"
UPDATE, LOOP = "learning/test_update.py", "learning/test_loop.py"
OPTIMIZER, SFT = "learning/test_optimizer.py", "learning/test_sft.py"
TRAIN = "learning/test_train.py"
VALIDATION = (
    "learning/test_train.py::test_validation_draws_with_settings_and_keys_of_its_own"
)
LAYOUT = f"{UPDATE}::test_layout_does_not_change_the_update"
FAULTS = [
    Fault(
        "old log-probabilities are scored anew before every minibatch",
        "learning/loop.py",
        "state, measured, trace = learner.update(state, minibatch)",
        """score = learner.logprobs(state.policy, minibatch.sequences)
                    minibatch = minibatch.replace(old_logprob=score)
                    state, measured, trace = learner.update(state, minibatch)""",
        (LOOP,),
        review="F2",
    ),
    Fault(
        "the ratio is to the policy itself",
        "learning/update.py",
        "        return loss(logprob, entropy, rows, method, total=_psum)",
        """        rows = rows.replace(old_logprob=jax.lax.stop_gradient(logprob))
        return loss(logprob, entropy, rows, method, total=_psum)""",
        (
            f"{LEARNER}::"
            "test_the_ratio_is_anchored_to_the_policy_before_the_first_update",
        ),
    ),
    Fault(
        "the ratio of a first update has a gradient of zero",
        "objectives/tokens.py",
        "old_logprob = jax.lax.stop_gradient(logprob)",
        "old_logprob = logprob",
        (f"{LEARNER}::test_without_a_pass_before_it_the_first_update_is_the_same",),
    ),
    Fault(
        "what a correction reads is not computed before the first update",
        "config/experiment.py",
        "return anchored or any(reader is not None for reader in readers)",
        "return anchored",
        (f"{LEARNER}::test_a_pass_before_is_made_where_something_reads_it",),
    ),
    Fault(
        "the log lacks what the first update compares",
        "learning/loop.py",
        "metrics |= updates[0].compared",
        "pass",
        (f"{TRAIN}::test_a_step_of_one_update_says_as_much_without_a_pass_before",),
    ),
    Fault(
        "rewards are transposed",
        "learning/learner.py",
        "self._shard(rollout.reward),",
        "self._shard(rollout.reward.T.reshape(rollout.reward.shape)),",
        (f"{LEARNER}::test_every_advantage_follows_the_reward_of_its_own_response",),
        review="F3",
    ),
    Fault(
        "the update lacks the temperature",
        "learning/learner.py",
        "make_update(policy_loss, optimizer, mesh, specs, temperature, microbatches)",
        "make_update(policy_loss, optimizer, mesh, specs, 1.0, microbatches)",
        (f"{LEARNER}::test_an_update_has_the_temperature_of_the_sampler",),
        review="F4",
    ),
    Fault(
        "the scores before an update lack the temperature",
        "learning/learner.py",
        "logprobs = make_logprobs(mesh, specs, temperature, pieces)",
        "logprobs = make_logprobs(mesh, specs, 1.0, pieces)",
        (
            f"{LEARNER}::"
            "test_the_ratio_is_anchored_to_the_policy_before_the_first_update",
        ),
    ),
    Fault(
        "scores of packed rows stay in the order they were read in",
        "learning/update.py",
        "return logprob[jnp.argsort(order)]",
        "return logprob",
        ("learning/test_packed_learner.py::test_a_step_is_that_of_padded_rows",),
    ),
    Fault(
        "the room left in a row is one column too much",
        "learning/packing.py",
        "room, row, rows = row_length, rows, rows + 1",
        "room, row, rows = row_length + 1, rows, rows + 1",
        ("learning/test_row_packing.py",),
    ),
    Fault(
        "the overlong penalty is not added to the reward",
        "learning/batches.py",
        "outcome_rewards(reward, mask, penalty.shape[1]) + penalty",
        "outcome_rewards(reward, mask, penalty.shape[1])",
        (f"{BATCHES}::test_responses_near_the_limit_lose_reward_by_their_length",),
        review="F5",
    ),
    Fault(
        "a minibatch is weighed as a part of the whole batch",
        "learning/batches.py",
        """        batch = jax.tree.map(lambda x: x[rows], batch)
        return _weigh(batch, weight)""",
        "        return jax.tree.map(lambda x: x[rows], _weigh(batch, weight))",
        (BATCHES,),
    ),
    Fault(
        "every epoch has the same minibatches",
        "learning/batches.py",
        "np.random.default_rng([seed, step, epoch])",
        "np.random.default_rng([seed, step])",
        (BATCHES,),
    ),
    Fault(
        "a minibatch mixes the responses of several prompts",
        "types.py",
        "prompts[:, None] * responses + np.arange(responses)[None]",
        "prompts[:, None] + len(prompts) * np.arange(responses)[None]",
        (BATCHES,),
    ),
    Fault(
        "ratios are anchored to the other of trainer and sampler",
        "learning/batches.py",
        'logprob if objective.anchor == "trainer" else rollout.sampler_logprob',
        'logprob if objective.anchor == "sampler" else rollout.sampler_logprob',
        (BATCHES,),
    ),
    Fault(
        "a rejection trains what was cut off",
        "learning/batches.py",
        "loss_mask = loss_mask & objective.rejection(*tokens)",
        "loss_mask = objective.rejection(*tokens)",
        (BATCHES,),
    ),
    Fault(
        "the correction is given sampler and trainer in the wrong order",
        "learning/batches.py",
        "tokens = logprob, rollout.sampler_logprob, mask",
        "tokens = rollout.sampler_logprob, logprob, mask",
        (BATCHES,),
    ),
    Fault(
        "right answers have the weight of all",
        "learning/batches.py",
        "correct = weight(batch.loss_mask & batch.correct[:, None])",
        "correct = value * batch.correct[:, None]",
        (BATCHES,),
    ),
    Fault(
        "what supervised training asks has a weight",
        "learning/batches.py",
        "weights = np.asarray(weight(sequences.response_mask), np.float32)",
        "weights = np.asarray(weight(zeros == 0), np.float32)",
        (SFT,),
    ),
    Fault(
        "gradients of copies are averaged",
        "distributed/mesh.py",
        "return jax.lax.psum(grad, copies) if copies else grad",
        "return jax.lax.pmean(grad, copies) if copies else grad",
        (f"{LAYOUT}[4-2-1-policy_loss]",),
    ),
    Fault(
        "only the last microbatch is learned from",
        "learning/update.py",
        "return jax.tree.map(jnp.add, total, grads), (value, measured, trace)",
        "return grads, (value, measured, trace)",
        (f"{LAYOUT}[1-1-4-policy_loss]",),
    ),
    Fault(
        "the loss is the mean over microbatches",
        "learning/update.py",
        "_psum(values.sum())",
        "_psum(values.mean())",
        (f"{LAYOUT}[1-1-4-policy_loss]",),
    ),
    Fault(
        "each microbatch fits bounds of its own",
        "learning/update.py",
        "if count > 1 and terms.fits_batch(method):",
        "if count > 8 and terms.fits_batch(method):",
        (f"{UPDATE}::test_bounds_are_fitted_to_the_whole_batch[Bapo-2-2-2]",),
    ),
    Fault(
        "bounds are fitted to advantages as they were before shaping",
        "learning/update.py",
        "batch = terms.shape_advantage(entropy, _join(parts), method)",
        "batch = _join(parts)",
        (f"{UPDATE}::test_bounds_are_fitted_to_the_shaped_advantages[2-2-2]",),
    ),
    Fault(
        "gradients are limited number by number",
        "learning/optimizer.py",
        "optax.clip_by_global_norm(max_grad_norm)",
        "optax.clip(max_grad_norm)",
        (OPTIMIZER,),
    ),
    Fault(
        "both moments decay alike",
        "learning/optimizer.py",
        "b2=settings.beta2",
        "b2=settings.beta1",
        (OPTIMIZER,),
    ),
    Fault(
        "scales and biases decay",
        "learning/optimizer.py",
        "            mask=decay_mask,\n",
        "",
        (OPTIMIZER,),
    ),
    Fault(
        "the first update has a rate of zero",
        "learning/optimizer.py",
        "optax.linear_schedule(peak / (rise + 1), peak, rise)",
        "optax.linear_schedule(0.0, peak, rise)",
        (OPTIMIZER,),
    ),
    Fault(
        "the schedule ends late by its rise",
        "learning/optimizer.py",
        "length = max(updates - rise, 1)",
        "length = max(updates, 1)",
        (OPTIMIZER,),
    ),
    Fault(
        "the schedule is that of steps, not of updates",
        "learning/learner.py",
        "total = experiment.steps * experiment.updates_per_step",
        "total = experiment.steps",
        (f"{LEARNER}::test_the_rate_falls_over_all_updates_of_all_steps",),
    ),
    Fault(
        "the number of updates leaves out epochs",
        "config/experiment.py",
        "return self.updates.minibatches * self.updates.epochs",
        "return self.updates.minibatches",
        (f"{LEARNER}::test_the_rate_falls_over_all_updates_of_all_steps",),
    ),
    Fault(
        "a supervised phase begins to count again on resume",
        "learning/sft.py",
        'taken = position["taken"]',
        "taken = 0",
        (SFT,),
    ),
    Fault(
        "supervised training resumes at the first phase",
        "learning/sft.py",
        'for index in range(position["phase"], len(settings.phases)):',
        "for index in range(len(settings.phases)):",
        (SFT,),
    ),
    Fault(
        "the place in the solutions is not restored",
        "learning/sft.py",
        '            stream.set_state(position["stream"])\n',
        "",
        (SFT,),
    ),
    Fault(
        "the reference is saved anew on resume",
        "learning/loop.py",
        "saved.save(0, RunState(policy))",
        "saved.save(done, RunState(policy))",
        (LOOP,),
        review="F7",
    ),
    Fault(
        "a checkpoint of a signal holds the position before its step",
        "learning/loop.py",
        'run.stop_if_asked(checkpoints, step, settled, "steps")',
        """earlier = lambda: dataclasses.replace(settled(), data=before)
            run.stop_if_asked(checkpoints, step, earlier, "steps")""",
        (LOOP,),
        review="F12",
        also=(
            (
                "            rollout = worker.collect(state.policy, step, leave)",
                """            before = worker.stream.get_state()
            rollout = worker.collect(state.policy, step, leave)""",
            ),
        ),
    ),
    Fault(
        "updates are written one step late",
        "learning/loop.py",
        "run.log.write_updates((step - 1) * per_step, updates)",
        "run.log.write_updates(step * per_step, updates)",
        ("learning/test_journal.py",),
    ),
    Fault(
        "the rate that is logged is that of the next update",
        "learning/loop.py",
        "float(schedule(made - 1))",
        "float(schedule(made))",
        (LOOP,),
    ),
    Fault(
        "a step is saved with the version of the one before",
        "learning/loop.py",
        "step * learner.experiment.updates_per_step,",
        "(step - 1) * learner.experiment.updates_per_step,",
        (LOOP,),
    ),
    Fault(
        "only the first update of a step is summed up",
        "learning/loop.py",
        "metrics |= over_updates(updates)",
        "metrics |= over_updates(updates[:1])",
        ("learning/test_journal.py",),
    ),
    Fault(
        "what measuring takes counts for the step",
        "learning/loop.py",
        """    seconds.pop("evaluating", None)\n""",
        "",
        ("learning/test_journal.py",),
    ),
    Fault(
        "every step warns of groups that teach nothing",
        "learning/loop.py",
        "            self._warned = True\n",
        "",
        ("learning/test_journal.py",),
    ),
    Fault(
        "a step learns behind what is not on disk yet",
        "learning/loop.py",
        "could not be saved\n                checkpoints.finish()",
        "could not be saved\n                pass",
        (LOOP,),
    ),
    Fault(
        "validation has the temperature of training",
        "learning/run.py",
        "temperature=validation.temperature,",
        "temperature=experiment.sampling.temperature,",
        (VALIDATION,),
    ),
    Fault(
        "validation draws with the keys of training",
        "learning/run.py",
        'key_for("evaluation", experiment.seed)',
        'key_for("sampling", experiment.seed)',
        (VALIDATION,),
    ),
    Fault(
        "a supervised update is saved that nobody looked at",
        "learning/sft.py",
        """        if due or showing or asked:
            shown = looked_at(metrics, done)
        if showing:
""",
        """        if showing:
            shown = looked_at(metrics, done)
""",
        (SFT,),
    ),
    Fault(
        "supervised training goes on behind a save that failed",
        "learning/sft.py",
        "        checkpoints.check()\n",
        "",
        (SFT,),
    ),
    Fault(
        "both moments of a parameter are rounded alike",
        "learning/optimizer.py",
        "name_of_leaf = name + jax.tree_util.keystr(path)",
        "name_of_leaf = jax.tree_util.keystr(path)",
        ("learning/test_optimizer.py",),
    ),
    Fault(
        "supervised updates are made in one piece",
        "learning/sft.py",
        "run.mesh, specs, microbatches=parts)",
        "run.mesh, specs, microbatches=1)",
        (SFT,),
    ),
    Fault(
        "the first update compares trained tokens alone",
        "learning/update.py",
        "batch.sampler_logprob, batch.sequences.response_mask",
        "batch.sampler_logprob, batch.loss_mask",
        (
            "learning/test_learner.py::test_what_is_compared_is_the_whole_response_though_not_all_of_it_trains",
        ),
    ),
    Fault(
        "a step says what its last update compares",
        "learning/loop.py",
        "updates[0].compared",
        "updates[-1].compared",
        ("learning/test_train.py::test_a_step_says_what_its_first_update_compares",),
    ),
    Fault(
        "a microbatch gets more packed rows than it may hold",
        "learning/packing.py",
        "min(rounded(rows), most)",
        "rounded(rows)",
        ("learning/test_row_packing.py",),
    ),
    Fault(
        "the first update does not wait for its program",
        "learning/learner.py",
        "self._thread.join()",
        "pass",
        ("learning/test_learner.py::test_a_call_waits_for_its_program",),
    ),
]
