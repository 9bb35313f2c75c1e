"""The policies that can be evaluated, opened by name."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from maspo_jax import config, hub, parallel
from maspo_jax.data.chat import template_of
from maspo_jax.data.tokenizer import FileTokenizer
from maspo_jax.evaluation.benchmarks import Evaluation
from maspo_jax.models import pretrained
from maspo_jax.models.decoder import Decoder
from maspo_jax.training import checkpoints, runs


@dataclasses.dataclass(frozen=True)
class Policy:
    """A decoder with all it takes to ask it a question and read its answer."""

    name: str
    step: int | None  # of training; None for one that was not trained here
    decoder: Decoder
    tokenizer: Any  # a `data.tokenizer.Tokenizer`
    template: Any  # a `data.templates.Template`
    prompt_length: int  # tokens it is asked in, unless an evaluation says otherwise
    response_length: int  # tokens it answers in, likewise
    grading: config.Grading

    @property
    def title(self):
        """What it is called, fit for the name of a folder."""
        return self.name if self.step is None else f"{self.name}_step_{self.step}"

    def settings(self):
        """Returns what decides how it answers, as plain data."""
        return {
            "step": self.step,
            "weights": checksum(self.decoder),
            "template": config.to_json(self.template),
            "tokenizer": config.to_json(self.tokenizer),
        }


def open_policy(name, mesh, step=None):
    """Returns the `Policy` of a run after its newest checkpoint, or of Hugging Face.

    Args:
        name: the folder of a run, the folder of a checkpoint of Hugging Face, or the
            name of one on the hub.
        mesh: the mesh its parameters are placed on.
        step: of the run's checkpoint; None for the newest.

    Raises:
        ValueError, OSError: there is no such policy; the message says which there are.
    """
    folder = pathlib.Path(name)
    if not folder.is_dir() and not hub.is_name(name):
        raise FileNotFoundError(
            f"no policy {name}: give the folder of a run, or a checkpoint of Hugging "
            "Face, its folder or its name"
        )
    settings = folder / "config.json"
    if folder.is_dir() and not (
        settings.is_file() and "model_type" in json.loads(settings.read_text())
    ):
        return _of_run(folder, mesh, step)
    if step is not None:
        raise ValueError(f"step={step}: {name} is a checkpoint, not a run with steps")
    return _of_checkpoint(str(name), mesh)


def _of_checkpoint(name, mesh):
    checkpoint, usual = pretrained.Checkpoint(name), Evaluation()
    shapes = pretrained.skeleton(checkpoint.config)
    places = parallel.shardings(parallel.specs(shapes, mesh), mesh)
    return Policy(
        name=pathlib.Path(name).name,
        step=None,
        decoder=pretrained.load(checkpoint.folder, checkpoint.config, places),
        tokenizer=FileTokenizer(name),
        template=template_of(name),
        prompt_length=usual.prompt_length,
        response_length=usual.response_length,
        grading=config.Grading(),
    )


def _of_run(folder, mesh, step):
    experiment = runs.read_experiment(folder)
    stage = folder / "checkpoints" / "reinforcement"
    saved = checkpoints.steps_of(stage)
    if not saved:
        raise ValueError(f"{folder} has no checkpoint yet: train it further first")
    if step is not None and step not in saved:
        raise ValueError(
            f"step={step}: {folder} has checkpoints of "
            f"{' and '.join(map(str, saved))} steps"
        )
    step = saved[-1] if step is None else step
    return Policy(
        name=folder.resolve().name,
        step=step,
        decoder=checkpoints.read_policy(stage, step, _skeleton(experiment, mesh)),
        tokenizer=experiment.tokenizer,
        template=experiment.template,
        prompt_length=experiment.sampling.prompt_length,
        response_length=experiment.sampling.response_length,
        grading=experiment.grading,
    )


def _skeleton(experiment, mesh):
    shapes = pretrained.skeleton(experiment.decoder)
    places = parallel.shardings(parallel.specs(shapes, mesh), mesh)
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(
            leaf.shape, leaf.dtype, sharding=place
        ),
        shapes,
        places,
    )


def checksum(decoder):
    """Returns a short text that other parameters would not give.

    Bits are added as integers, so it is the same however the parameters lie.
    """
    sums = ",".join(map(str, map(int, _bit_sums(decoder))))
    return hashlib.sha256(sums.encode()).hexdigest()[:16]


@jax.jit
def _bit_sums(decoder):
    def total(leaf):
        unsigned = {2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
        bits = jax.lax.bitcast_convert_type(leaf, unsigned)
        return jnp.sum(bits.astype(jnp.uint32), dtype=jnp.uint32)

    return [total(leaf) for leaf in jax.tree.leaves(decoder)]
