"""The policies that can be evaluated, opened by name."""

import dataclasses
import hashlib
import pathlib
from typing import Any, Literal

import jax
import jax.numpy as jnp

from maspo_jax import config, distributed, hub
from maspo_jax.config import serialization
from maspo_jax.config.validation import check_vocabulary
from maspo_jax.data.prompts import templates
from maspo_jax.data.prompts.chat import template_of
from maspo_jax.data.prompts.tokenizer import FileTokenizer
from maspo_jax.evaluation.protocol import Evaluation
from maspo_jax.models import sharding
from maspo_jax.models.decoder import Decoder
from maspo_jax.models.huggingface import architecture, load
from maspo_jax.models.huggingface.load import config_of
from maspo_jax.runs import checkpoints, provenance, run_folder
from maspo_jax.storage import closest


@dataclasses.dataclass(frozen=True)
class Policy:
    """A decoder with all it takes to ask it a question and read its answer."""

    name: str
    step: int | None  # of training; None for one that was not trained here
    decoder: Decoder = dataclasses.field(repr=False)
    tokenizer: Any = dataclasses.field(repr=False)  # a `data.prompts.Tokenizer`
    template: Any  # a `data.prompts.Template`
    prompt_length: int  # tokens it is asked in, unless an evaluation says otherwise
    response_length: int  # tokens it answers in, likewise
    grading: config.Grading
    source: pathlib.Path | None  # folder of the checkpoint it was trained from
    # Digests of what template and tokenizer were read from.
    files: dict = dataclasses.field(repr=False)
    # When the sampler gathers it, as in `rollout.generate.SamplingParams`.
    gather: Literal["once", "layer"] = "once"

    @property
    def mesh(self):
        """The mesh its parameters are placed on."""
        return jax.tree.leaves(self.decoder)[0].sharding.mesh

    @property
    def title(self):
        """What it is called, fit for the name of a folder."""
        return self.name if self.step is None else f"{self.name}_step_{self.step}"

    def settings(self):
        """Returns what decides how it answers, as plain data."""
        return {
            "step": self.step,
            "weights": checksum(self.decoder),
            "decoder": serialization.to_json(self.decoder.config),
            "grader": serialization.to_json(self.grading.grader),
            "template": serialization.to_json(self.template),
            "tokenizer": serialization.to_json(self.tokenizer),
            "files": self.files,
        }


def open_policy(name, mesh, step=None, dtype=None, template=None):
    """Returns the `Policy` of a run after its newest checkpoint, or of Hugging Face.

    Args:
        name: the folder of a run, the folder of a checkpoint of Hugging Face, or the
            name of one on the hub.
        mesh: the mesh its parameters are placed on.
        step: of the run's checkpoint; None for the newest.
        dtype: of the parameters of a checkpoint of Hugging Face; None for float32. A
            run has its own.
        template: the name in `data.prompts.templates` of the instructions that a
            checkpoint is given with each question; None for `boxed`. A run has its own.

    Raises:
        ValueError, OSError: there is no such policy, in this process or another of
            the pod; the message says which there are.
    """
    with (
        distributed.raise_on_all_hosts()
    ):  # before any process begins to read parameters
        about, read = _found(name, step, dtype, template)
        about["files"] = provenance.digests((about["template"], about["tokenizer"]))
    return Policy(**about, decoder=read(mesh))


def _found(name, step, dtype, template):
    """Returns the fields of a `Policy`, and a function of the mesh that reads it."""
    folder = pathlib.Path(name)
    if not folder.is_dir() and not hub.is_name(name):
        raise FileNotFoundError(
            f"no policy {name}{closest(folder)}: give the folder of a run, or a "
            "checkpoint of Hugging Face, its folder or its name"
        )
    file = folder / "config.json"
    if folder.is_dir() and not file.is_file():
        raise FileNotFoundError(
            f"{folder} is not the folder of a run, nor a checkpoint of Hugging Face: "
            "no config.json"
        )
    if folder.is_dir() and architecture.is_run(folder):
        if template is not None:
            raise ValueError(
                f"template={template}: a run is asked with the template it was trained "
                "with; leave it out"
            )
        if dtype is not None:
            raise ValueError(
                f"dtype={dtype}: a run is held in the type it was trained in; leave it "
                "out"
            )
        return _of_run(folder, step)
    if step is not None:
        raise ValueError(f"step={step}: {name} is a checkpoint, not a run with steps")
    style = templates.template_named(template or "boxed")
    try:
        return _of_checkpoint(str(name), dtype or "float32", style)
    except FileNotFoundError as error:
        if folder.is_dir():
            raise
        raise FileNotFoundError(f"{error}{closest(folder)}") from error


def _of_checkpoint(name, dtype, style):
    checkpoint, usual = load.Checkpoint(name, dtype=dtype), Evaluation()
    about = {
        "name": pathlib.Path(name).resolve().name,
        "step": None,
        "tokenizer": FileTokenizer(name),
        "template": template_of(name, style),
        "prompt_length": usual.prompt_length,
        "response_length": usual.response_length,
        "grading": config.Grading(),
        "source": checkpoint.folder,
    }
    load.verify(checkpoint.folder, checkpoint.config)
    check_vocabulary(checkpoint.config.vocabulary, about["tokenizer"])

    def read(mesh):
        sharding.check_tensor(checkpoint.config, mesh.shape["tensor"])
        shapes = load.skeleton(checkpoint.config)
        places = distributed.named_shardings(sharding.param_specs(shapes, mesh), mesh)
        return load.load(checkpoint.folder, checkpoint.config, places)

    return about, read


def _of_run(folder, step):
    names = "policy", "template", "tokenizer", "sampling", "grading"
    policy, template, tokenizer, sampling, grading = run_folder.read_parts(
        folder, *names
    )
    run_folder.check_files(folder, policy, template, tokenizer)
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
    about = {
        "name": folder.resolve().name,
        "step": step,
        "tokenizer": tokenizer,
        "template": template,
        "prompt_length": sampling.prompt_length,
        "response_length": sampling.response_length,
        "grading": grading,
        "source": getattr(policy, "folder", None),
    }

    def read(mesh):
        sharding.check_tensor(config_of(policy), mesh.shape["tensor"])
        shapes = load.skeleton(config_of(policy))
        return checkpoints.read_policy(
            stage, step, sharding.abstract_params(shapes, mesh)
        )

    return about, read


def checksum(decoder):
    """Returns a short text that other parameters would not give.

    Bits are added as integers, each with the weight of its place, so it is the same
    however the parameters lie over devices.
    """
    sums = ",".join(map(str, map(int, _bit_sums(decoder))))
    return hashlib.sha256(sums.encode()).hexdigest()[:16]


@jax.jit
def _bit_sums(decoder):
    def total(leaf):
        unsigned = {2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
        bits = jax.lax.bitcast_convert_type(leaf, unsigned)
        place = jnp.arange(leaf.size, dtype=jnp.uint32).reshape(leaf.shape)
        return jnp.sum(bits.astype(jnp.uint32) * (2 * place + 1), dtype=jnp.uint32)

    return [total(leaf) for leaf in jax.tree.leaves(decoder)]
