"""An experiment on a slice: what of it decides memory and time, and no file is read.

The shapes of the papers' checkpoints are known (`models.presets`), so neither weights
nor a tokenizer have to be here: which tokens end a response changes no shape.
"""

import dataclasses

import jax

from maspo_jax import config, distributed
from maspo_jax.config import validation
from maspo_jax.learning import batches
from maspo_jax.models import presets
from maspo_jax.models.decoder import DecoderConfig
from maspo_jax.plan.devices import Slice
from maspo_jax.refusals import Refusals
from maspo_jax.rollout import memory
from maspo_jax.rollout.batching import plan_batches

STAGES = "sample", "score", "update", "validation"
SHARE = memory.SHARE  # of the memory of a device that a plan may fill


@dataclasses.dataclass(frozen=True)
class NoText:
    """Stands for a tokenizer whose files are not here."""

    size: int
    eos_token_id = 0
    eos_tokens = (0,)
    bos_tokens = ()
    pad_token_id = 0

    def encode(self, text):
        """Refuses: a plan reads no text."""
        raise ValueError("a plan has no tokenizer")

    decode = decode_batch = encode


@dataclasses.dataclass(frozen=True)
class Job:
    """An experiment on a slice. `job_of` makes one.

    Rows, prompts and tokens are those of one device; the others hold as many.
    """

    experiment: config.Experiment  # its policy is a `DecoderConfig`
    slice: Slice

    @property
    def decoder(self):
        """The `DecoderConfig`."""
        return self.experiment.policy

    @property
    def mesh(self):
        """The mesh as it is known without devices: names and sizes of its axes."""
        fsdp, tensor = self.experiment.fsdp, self.tensor
        data = self.slice.devices // (fsdp * tensor)
        return jax.sharding.AbstractMesh(
            (data, fsdp, tensor),
            distributed.AXES,
            (jax.sharding.AxisType.Auto,) * 3,
        )

    @property
    def tensor(self):
        """Devices that share the heads of the policy while it draws."""
        return self.experiment.tensor

    @property
    def passes_first(self):
        """Forward passes over the rollout batch before its first update."""
        experiment = self.experiment
        reference = "reference_logprob" in experiment.objective.needs
        return experiment.scores_first + reference

    @property
    def stages(self):
        """The names of its stages out of `STAGES`, in order."""
        return tuple(s for s in STAGES if s != "score" or self.passes_first)

    @property
    def length(self):
        """Of a row, L + T."""
        return self.experiment.sampling.row_length

    @property
    def at_a_time(self):
        """The `AtATime` of its draws: as set, or as much as fits, or else the least."""
        of = self.experiment, self.mesh, self.slice.hbm
        sampling, devices = self.experiment.sampling, self.slice.devices
        return memory.drawn_at_a_time(*of) or memory.least_at_a_time(sampling, devices)

    @property
    def wave(self):
        """Prompts drawn at a time, of all devices."""
        return self.at_a_time.wave

    @property
    def slots(self):
        """Responses drawn at a time; None: all of a wave."""
        return self.at_a_time.slots

    @property
    def waves(self):
        """How many waves a step draws."""
        return -(-self.experiment.sampling.prompts // self.wave)

    @property
    def wave_rows(self):
        """Responses drawn at a time."""
        responses = self.experiment.sampling.responses
        return self.at_a_time.rows(responses, self.slice.devices)

    @property
    def rows_of_wave(self):
        """Responses of a wave."""
        return self.wave * self.experiment.sampling.responses // self.slice.devices

    @property
    def rows(self):
        """Of the rollout batch."""
        sampling = self.experiment.sampling
        return sampling.prompts * sampling.responses // self.slice.devices

    @property
    def minibatch_rows(self):
        """Of one update."""
        return self.rows // self.experiment.updates.minibatches

    @property
    def microbatches(self):
        """Parts of an update, one after another."""
        updates = self.experiment.updates
        return batches.microbatches_of(updates, self.minibatch_rows, self.length)

    @property
    def microbatch_rows(self):
        """Whose gradient is computed at once."""
        return self.minibatch_rows // self.microbatches

    @property
    def validation(self):
        """The `BatchPlan` of a validation."""
        measured = self.experiment.validation
        most = memory.validation_batch(self.experiment, self.mesh, self.slice.hbm)
        return plan_batches(
            measured.problems, measured.samples, most, self.slice.devices
        )

    def changed(self, **settings):
        """Returns the job with settings changed, {dotted name with __: value}."""
        experiment = self.experiment
        for name, value in settings.items():
            part, _, last = name.rpartition("__")
            if part:
                new = dataclasses.replace(getattr(experiment, part), **{last: value})
                experiment = dataclasses.replace(experiment, **{part: new})
            else:
                experiment = dataclasses.replace(experiment, **{name: value})
        return dataclasses.replace(self, experiment=experiment)


def job_of(experiment, slice_):
    """Returns the `Job` of an experiment on a slice.

    Args:
        experiment: the `Experiment`.
        slice_: the `Slice`.

    Raises:
        ValueError, OSError: the devices cannot do or share the work, or the shape of
            the policy is neither known nor to be read.
    """
    decoder = decoder_of(experiment.policy)
    experiment = dataclasses.replace(
        experiment, policy=decoder, tokenizer=NoText(decoder.vocabulary)
    )
    with Refusals() as refusals:
        validation.check_layout(
            experiment,
            slice_.devices,
            refusals,
            slice_.hosts,
            slice_.chip.platform,
        )
    return Job(experiment, slice_)


def decoder_of(policy):
    """Returns the `DecoderConfig` of a policy; of a known checkpoint without its files.

    Args:
        policy: a `DecoderConfig` or a `Checkpoint`.
    """
    if isinstance(policy, DecoderConfig):
        return policy
    shape = presets.BY_NAME.get(policy.name)
    if shape is None:
        return policy.config
    known = {field.name for field in dataclasses.fields(DecoderConfig)}
    settings = {
        field.name: getattr(policy, field.name)
        for field in dataclasses.fields(policy)
        if field.name in known
    }
    return dataclasses.replace(shape, **settings)
