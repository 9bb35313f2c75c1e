"""Checkpoints of Hugging Face: found, checked by name and shape, read into shards.

    name --hub--> folder --read_config--> DecoderConfig --load--> Decoder

One file is open at a time and one tensor in memory: each goes to its shards before
the next is read.
"""

import contextlib
import dataclasses
import functools
import pathlib
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from maspo_jax import hub, storage
from maspo_jax.models.attention import AttentionName
from maspo_jax.models.decoder import DecoderConfig, init_decoder
from maspo_jax.models.huggingface.architecture import refuse_adapter
from maspo_jax.models.huggingface.config import read_config
from maspo_jax.models.huggingface.table import TABLE, path_of
from maspo_jax.storage import read_json_object

INDEX = "model.safetensors.index.json"
# Written by old versions beside the weights; the decoder computes it.
COMPUTED = "rotary_emb.inv_freq"
HEAD = "lm_head.weight"
TYPES = ("F64", "F32", "F16", "BF16")  # of tensors, as safetensors names them
_ROWS = 4096  # of two matrices that are compared, in memory at a time


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A pretrained policy: a folder, or a name on the Hugging Face hub.

    Attributes:
        name: the folder or the name, such as "Qwen/Qwen2.5-1.5B".
        revision: of the hub: a branch, a tag or a commit.
        dtype: of the parameters as they will be held.
        compute_dtype: of the matrix products; None for that of the parameters.
        attention: which implementation reads whole rows, see `DecoderConfig`.
        remat: what of a layer is kept for the backward pass, see `models.remat`.
    """

    name: str
    revision: str | None = None
    dtype: str = "float32"
    compute_dtype: Literal["float32", "bfloat16"] | None = None
    attention: AttentionName = "auto"
    remat: Literal["full", "dots", "attention", "none"] = "full"

    @functools.cached_property
    def folder(self):
        """Where the files are, fetched from the hub if they are not here."""
        folder = hub.folder_of(self.name, self.revision, hub.WEIGHTS)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} is no checkpoint of Hugging Face: it has no config.json"
            )
        refuse_adapter(folder)
        return folder

    @functools.cached_property
    def digests(self):
        """The content of its configuration, see `runs.provenance`."""
        return storage.digest_files(self.name, self.folder, ["config.json"])

    @property
    def revisions(self):
        """The commit it was fetched from, if it was."""
        return hub.revisions_of(self.name, self.folder)

    @functools.cached_property
    def config(self):
        """The `DecoderConfig` of the checkpoint."""
        values = read_json_object(self.folder / "config.json")
        try:
            return read_config(
                values,
                self.dtype,
                compute_dtype=self.compute_dtype,
                attention=self.attention,
                remat=self.remat,
            )
        except ValueError as error:
            raise ValueError(f"{self.folder / 'config.json'}: {error}") from error


def config_of(policy):
    """Returns the `DecoderConfig` of a policy: its own, or that of a `Checkpoint`."""
    return policy if isinstance(policy, DecoderConfig) else policy.config


def load(folder, config, shardings):
    """Returns the `Decoder` of a checkpoint, each parameter on its devices.

    Args:
        folder: of the checkpoint, with `*.safetensors` and maybe an index.
        config: its `DecoderConfig`.
        shardings: a `NamedSharding` for every leaf of the decoder, as a tree.

    Raises:
        ValueError: a tensor is missing, not known, misshaped, quantized or set twice,
            or a file is damaged, and nothing is read then; or a tensor holds a value
            that is not finite.
    """
    folder = pathlib.Path(folder)
    files, targets = verify(folder, config)
    leaves, structure = jax.tree.flatten(skeleton(config))
    places = jax.tree.leaves(shardings)
    found = [None] * len(leaves)
    for file, names in files.items():
        with _opened(folder / file) as tensors:
            for name in (name for name in names if name in targets):
                number, layer, transposed, _ = targets[name]
                piece = _piece(
                    tensors.get_slice(name), places[number], layer, transposed
                )
                if not _is_finite(piece):
                    raise ValueError(
                        f"{folder / file}: {name} holds NaN or infinity, so that every "
                        "logit would be NaN; fetch it again, or take another checkpoint"
                    )
                # Waited for, or reading would run ahead and fill the memory.
                found[number] = jax.block_until_ready(
                    _put(found[number], piece, leaves[number], places[number], layer)
                )
    return jax.tree.unflatten(structure, found)


def verify(folder, config):
    """Refuses a checkpoint whose tensors are not those of a decoder.

    No weights are read, except a head beside a tied one: it has to be a copy.

    Args:
        folder: of the checkpoint.
        config: its `DecoderConfig`.

    Returns:
        {file: names of its tensors}, and for each tensor the decoder takes {name:
        (number of its leaf, layer or None, whether it is transposed, shape)}.

    Raises:
        ValueError: as `load` does.
    """
    folder = pathlib.Path(folder)
    files = _files(folder)
    targets = _targets(config)
    _check(folder, _shapes(folder, files), targets, config.tied_head)
    if config.tied_head:
        _check_copy(folder, files)
    return files, targets


def skeleton(config):
    """Returns the `Decoder` of shapes that a config describes."""
    return jax.eval_shape(lambda: init_decoder(config, jax.random.key(0)))


def _targets(config):
    targets = {}
    for number, (path, leaf) in enumerate(jax.tree.leaves_with_path(skeleton(config))):
        name, transposed = TABLE[path_of(path)]
        stacked = "*" in name
        shape = leaf.shape[stacked:]
        shape = shape[::-1] if transposed else shape
        for layer in range(config.depth) if stacked else (None,):
            of_layer = name.replace("*", str(layer))
            targets[of_layer] = number, layer, transposed, shape
    return targets


def _files(folder):
    """Returns {file: names of its tensors}, by the index or by the files themselves."""
    if (folder / INDEX).is_file():
        files, placed = {}, read_json_object(folder / INDEX).get("weight_map")
        if not isinstance(placed, dict) or {*map(type, placed.values())} != {str}:
            raise ValueError(
                f"{folder / INDEX} has no `weight_map` from tensors to files; fetch it "
                "again"
            )
        for name, file in placed.items():
            files.setdefault(file, []).append(name)
        missing = sorted(file for file in files if not (folder / file).is_file())
        if missing:
            raise ValueError(
                f"{folder} is half a download: {INDEX} names {', '.join(missing)}, "
                "which is not there; fetch it again"
            )
        return files
    files = sorted(path.name for path in folder.glob("*.safetensors"))
    if not files:
        raise ValueError(
            f"{folder} holds no *.safetensors; convert its weights, or fetch them"
        )
    listed = {}
    for file in files:
        with _opened(folder / file) as tensors:
            listed[file] = list(tensors.keys())
    return listed


def _shapes(folder, files):
    """Returns {tensor: shape}, from the headers of all files."""
    shapes = {}
    for file, names in files.items():
        with _opened(folder / file) as tensors:
            inside = set(tensors.keys())
            for name in names:
                if name not in inside:
                    raise ValueError(
                        f"{folder}: {INDEX} expects {name} in {file}, where it is not"
                    )
                if name in shapes:
                    raise ValueError(f"{folder}: {name} is set twice, again in {file}")
                tensor = tensors.get_slice(name)
                if tensor.get_dtype() not in TYPES:
                    raise ValueError(
                        f"{folder / file}: {name} is of the type {tensor.get_dtype()}; "
                        f"quantized weights cannot be read, only {', '.join(TYPES)}: "
                        "take the checkpoint that is not, or write its weights in "
                        "bfloat16 first"
                    )
                shapes[name] = tuple(tensor.get_shape())
            for name in sorted(inside.difference(names)):
                if not name.endswith(COMPUTED):
                    raise ValueError(
                        f"{folder}: {file} holds {name}, which {INDEX} does not place "
                        "there; fetch both again"
                    )
    return shapes


def _check(folder, shapes, targets, tied):
    """Refuses tensors that are missing, not known or misshaped, by name."""
    missing = [name for name in targets if name not in shapes]
    known = targets.keys() | ({HEAD} if tied else set())
    unknown = [n for n in shapes if n not in known and not n.endswith(COMPUTED)]
    for what, names in (("lacks", missing), ("has unknown", unknown)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"{folder} {what} tensors: {', '.join(names[:3])}{more}; its "
                "config.json does not describe these weights"
            )
    for name, (_, _, _, shape) in targets.items():
        if shapes[name] != shape:
            raise ValueError(
                f"{folder}: {name} has the shape {shapes[name]}, by its config.json it "
                f"should have {shape}"
            )


def _check_copy(folder, files):
    """Refuses a head beside a tied one, unless it is a copy of the embedding."""
    file_of = {name: file for file, names in files.items() for name in names}
    if HEAD not in file_of:
        return
    embedding, _ = TABLE["embedding"]
    with contextlib.ExitStack() as held:
        one, other = (
            held.enter_context(_opened(folder / file_of[name])).get_slice(name)
            for name in (HEAD, embedding)
        )
        rows, width = other.get_shape()
        if one.get_shape() == [rows, width] and all(
            np.array_equal(one[first:last], other[first:last])
            for first, last in _pieces(rows)
        ):
            return
    raise ValueError(
        f"{folder}: {HEAD} differs from the embedding, but config.json says "
        "tie_word_embeddings; correct one of them"
    )


def _pieces(rows):
    """Yields the bounds of so many rows, a few at a time."""
    for first in range(0, rows, _ROWS):
        yield first, min(first + _ROWS, rows)


def _piece(tensor, sharding, layer, transposed):
    """Returns one tensor of a file as an array split as its parameter is."""
    shape = tuple(tensor.get_shape())
    shape = shape[::-1] if transposed else shape
    if layer is not None:
        sharding = jax.NamedSharding(sharding.mesh, jax.P(*sharding.spec[1:]))

    def read(index):
        return tensor[index[::-1]].T if transposed else tensor[index]

    return jax.make_array_from_callback(shape, sharding, read)


def _put(whole, piece, leaf, sharding, layer):
    """Returns a parameter, begun if it was None, with a piece in its place."""
    if layer is None:
        return _cast(sharding, leaf.dtype)(piece)
    if whole is None:
        whole = _begin(sharding, leaf.shape, leaf.dtype)()
    return _set_layer(whole, piece, layer)


@jax.jit
def _is_finite(piece):
    return jnp.isfinite(piece).all()


@functools.cache
def _begin(sharding, shape, dtype):
    return jax.jit(lambda: jnp.zeros(shape, dtype), out_shardings=sharding)


@functools.cache
def _cast(sharding, dtype):
    return jax.jit(lambda piece: piece.astype(dtype), out_shardings=sharding)


@functools.partial(jax.jit, donate_argnums=0)
def _set_layer(whole, piece, layer):
    piece = piece.astype(whole.dtype)
    return jax.lax.dynamic_update_index_in_dim(whole, piece, layer, axis=0)


@contextlib.contextmanager
def _opened(file):
    if file.is_file():
        storage.check_no_pointer(file)
    try:
        with safetensors.safe_open(file, framework="numpy") as tensors:
            yield tensors
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is damaged or half a download ({error}); fetch it again"
        ) from error
