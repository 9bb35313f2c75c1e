"""A policy as a checkpoint of Hugging Face, which every other tool opens."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from maspo_jax.models.huggingface.config import fix_original_length, write_config
from maspo_jax.models.huggingface.load import INDEX
from maspo_jax.models.huggingface.table import TABLE, path_of
from maspo_jax.storage import check_new, read_json_object

FILE_BYTES = 5 * 10**9  # of a file of weights, as most checkpoints have them


def export(
    policy,
    folder,
    *,
    longest,
    eos_tokens,
    pad,
    source=None,
    dtype=None,
    file_bytes=FILE_BYTES,
):
    """Writes `config.json`, `generation_config.json` and the weights of a policy.

    Args:
        policy: a `Decoder`, all of it on devices of this process.
        folder: where; must be empty or not exist.
        longest: tokens of the longest text, prompt and response.
        eos_tokens: which end a response, the first of them that of demonstrations.
        pad: the token that pads.
        source: the folder of the checkpoint it was trained from, whose other settings
            are kept; None if it began from scratch.
        dtype: of the tensors; by default that of the parameters.
        file_bytes: of one file of weights at most, unless a tensor is larger.
    """
    check_new(folder)
    folder = pathlib.Path(folder)
    known, generation = write_config(policy.config), {"do_sample": True}
    if source is not None:
        known = read_json_object(pathlib.Path(source) / "config.json")
        known.pop("torch_dtype", None)  # the old name of dtype
        fix_original_length(known)  # `longest` may be more
        usual = pathlib.Path(source) / "generation_config.json"
        generation = read_json_object(usual) if usual.is_file() else generation
    dtype = jnp.dtype(dtype or policy.config.dtype)
    specials = {"eos_token_id": list(eos_tokens), "pad_token_id": pad}
    longest = max(longest, known.get("max_position_embeddings", 0))
    values = known | specials
    values |= {"max_position_embeddings": longest, "dtype": dtype.name}
    folder.mkdir(parents=True, exist_ok=True)
    _write_weights(policy, folder, dtype, file_bytes)
    _write_json(folder / "generation_config.json", generation | specials)
    _write_json(folder / "config.json", values)


def tensors_of(policy):
    """Yields the name, shape and a function that returns the value of each tensor."""
    for path, leaf in jax.tree.leaves_with_path(policy):
        name, transposed = TABLE[path_of(path)]
        if "*" not in name:
            yield name, *_tensor(leaf, None, transposed)
            continue
        for layer in range(leaf.shape[0]):
            yield name.replace("*", str(layer)), *_tensor(leaf, layer, transposed)


def _tensor(leaf, layer, transposed):
    shape = leaf.shape if layer is None else leaf.shape[1:]
    shape = shape[::-1] if transposed else shape

    def value():
        array = np.asarray(leaf if layer is None else leaf[layer])
        return np.ascontiguousarray(array.T if transposed else array)

    return shape, value


def _write_weights(policy, folder, dtype, file_bytes):
    """Writes the tensors, a file at a time, with an index if there are several."""
    files, size = [[]], 0
    for name, shape, value in tensors_of(policy):
        needed = dtype.itemsize * int(np.prod(shape))
        if files[-1] and size + needed > file_bytes:
            files.append([])
            size = 0
        files[-1].append((name, value))
        size += needed
    index = {}
    for number, tensors in enumerate(files, 1):
        file = "model.safetensors"
        if len(files) > 1:
            file = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        arrays = {name: value().astype(dtype) for name, value in tensors}
        safetensors.numpy.save_file(arrays, folder / file, metadata={"format": "pt"})
        # The library lets nobody else read it; whoever may see the folder may.
        (folder / file).chmod(0o666 & folder.stat().st_mode)
        index |= dict.fromkeys(arrays, file)
    if len(files) > 1:
        _write_json(folder / INDEX, {"metadata": {}, "weight_map": index})


def _write_json(file, values):
    file.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
