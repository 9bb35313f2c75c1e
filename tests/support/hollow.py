"""Checkpoints with true names and shapes, whose weights are holes in their files."""

import json
import math
import struct

from maspo_jax.models.huggingface import load
from maspo_jax.models.huggingface.config import write_config


def tensors_by_hand(config):
    """Returns {name: shape} as the architecture prescribes, not as our table does."""
    d, f, v, e = config.width, config.feed_forward, config.vocabulary, config.head_width
    q, k = config.query_heads * e, config.key_value_heads * e
    shapes = {"model.embed_tokens.weight": (v, d), "lm_head.weight": (v, d)}
    shapes["model.norm.weight"] = (d,)
    for layer in range(config.depth):
        at = f"model.layers.{layer}."
        for part, rows in (("q", q), ("k", k), ("v", k)):
            shapes[f"{at}self_attn.{part}_proj.weight"] = (rows, d)
            shapes[f"{at}self_attn.{part}_proj.bias"] = (rows,)
        shapes[f"{at}self_attn.o_proj.weight"] = (d, q)
        shapes[f"{at}mlp.gate_proj.weight"] = shapes[f"{at}mlp.up_proj.weight"] = (f, d)
        shapes[f"{at}mlp.down_proj.weight"] = (d, f)
        shapes[f"{at}input_layernorm.weight"] = (d,)
        shapes[f"{at}post_attention_layernorm.weight"] = (d,)
    return shapes


def write_hollow(folder, config, files=4):
    """Writes a checkpoint with true headers and an index; its weights are holes."""
    names = list(tensors_by_hand(config).items())
    index = {}
    for number in range(files):
        file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        header, size = {}, 0
        for name, shape in names[number::files]:
            bytes_ = 2 * math.prod(shape)
            offsets = [size, size + bytes_]
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
            size += bytes_
            index[name] = file
        text = json.dumps(header).encode()
        with (folder / file).open("wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            out.truncate(8 + len(text) + size)
    (folder / load.INDEX).write_text(json.dumps({"weight_map": index}))
    values = write_config(config)
    (folder / "config.json").write_text(json.dumps(values))
