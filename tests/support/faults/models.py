"""Faults of the decoder, attention, the cache, sharding and checkpoints of others."""

from support.faults import Fault

GRADIENTS, DECODER = "models/test_gradients.py", "models/test_decoder.py"
BY_HAND = (
    f"{GRADIENTS}::test_log_probabilities_and_gradients_are_those_of_the_equations",
)
ATTENTION, CACHE = "models/test_attention.py", "models/test_cache.py"
PARALLEL = "distributed/test_parallel.py"
INITIALIZATION = "models/test_initialization.py"
FAULTS = [
    Fault(
        "a head of its own has no gradient",
        "models/decoder.py",
        "else self.head.kernel[...].T\n",
        "else jax.lax.stop_gradient(self.head.kernel[...].T)\n",
        BY_HAND,
        review="F8",
    ),
    Fault(
        "the cache of a float32 policy is bfloat16",
        "models/cache.py",
        "zeros = jnp.zeros(shape, config.product_dtype)",
        'zeros = jnp.zeros(shape, "bfloat16")',
        (
            "rollout/test_generate.py::test_log_probabilities_equal_those_of_the_trainer",
        ),
        review="F9",
        also=(
            (
                "put = _put_in_step if self.in_step else _put_each\n",
                "put = _put_in_step if self.in_step else _put_each\n"
                "        kind = self.key.dtype\n"
                "        key, value = key.astype(kind), value.astype(kind)\n",
            ),
        ),
    ),
    Fault(
        "of a token that occurs twice only one gradient counts",
        "models/decoder.py",
        "total.at[index].add(cotangent.astype(jnp.float32))",
        "total.at[index].set(cotangent.astype(jnp.float32))",
        BY_HAND,
    ),
    Fault(
        "keys are not normalized",
        "models/decoder.py",
        "key = self.heads(self.key(x), self.key_norm)",
        "key = self.heads(self.key(x))",
        BY_HAND,
    ),
    Fault(
        "the epsilon of a norm is left out",
        "models/decoder.py",
        "jax.lax.rsqrt(mean + self.epsilon)",
        "jax.lax.rsqrt(mean)",
        (DECODER,),
    ),
    Fault(
        "the norm centers",
        "models/decoder.py",
        "mean = jnp.mean(jnp.square(wide), axis=-1, keepdims=True)",
        "mean = jnp.var(wide, axis=-1, keepdims=True)",
        BY_HAND,
    ),
    Fault(
        "gate and up are swapped",
        "models/decoder.py",
        "self.down(jax.nn.silu(self.gate(x)) * self.up(x))",
        "self.down(jax.nn.silu(self.up(x)) * self.gate(x))",
        BY_HAND,
    ),
    Fault(
        "the feed-forward reads the stream before attention",
        "models/decoder.py",
        "        x = x + change\n        return x + self.feed_forward(",
        "        y = x + change\n        return y + self.feed_forward(",
        BY_HAND,
    ),
    Fault(
        "all layers begin as copies of one",
        "models/decoder.py",
        "jax.random.split(rngs.params(), config.depth)",
        "jax.random.split(rngs.params(), 1).repeat(config.depth)",
        (INITIALIZATION,),
    ),
    Fault(
        "matrices begin at the scale of their outputs",
        "models/decoder.py",
        "scale = 1 / math.sqrt(inputs)",
        "scale = 1 / math.sqrt(outputs)",
        (INITIALIZATION,),
    ),
    Fault(
        "heads turn backwards",
        "models/decoder.py",
        "turned = [first * cos - second * sin, second * cos + first * sin]",
        "turned = [first * cos - second * sin, second * cos - first * sin]",
        BY_HAND,
    ),
    Fault(
        "query heads take their keys in turns",
        "models/attention/reference.py",
        "query = query.reshape(rows, steps, groups, heads // groups, width)",
        "query = query.reshape(rows, steps, heads // groups, groups, width)"
        ".swapaxes(2, 3)",
        BY_HAND,
    ),
    Fault(
        "scores are scaled by the number of heads",
        "models/attention/reference.py",
        "score / math.sqrt(width), MASKED)",
        "score / math.sqrt(heads), MASKED)",
        (ATTENTION,),
    ),
    Fault(
        "a token sees the next",
        "models/attention/reference.py",
        "jnp.tri(size, dtype=bool)[None]",
        "jnp.tri(size, k=1, dtype=bool)[None]",
        (ATTENTION,),
    ),
    Fault(
        "decoding sees a column that is not filled",
        "models/attention/reference.py",
        "(column < ends[:, :, None])",
        "(column <= ends[:, :, None])",
        (ATTENTION,),
    ),
    Fault(
        "texts of a row see each other in blocks",
        "models/attention/chunked.py",
        "visible = causal[None] & same & (seen > 0)[:, None, :]",
        "visible = causal[None] & (seen > 0)[:, None, :]",
        (ATTENTION,),
    ),
    Fault(
        "the softmax of blocks has no offset in its gradient",
        "models/attention/chunked.py",
        "by_score = share * (by_share - offset[i]) / math.sqrt(width)",
        "by_score = share * by_share / math.sqrt(width)",
        (ATTENTION,),
    ),
    Fault(
        "earlier blocks do not fade",
        "models/attention/chunked.py",
        "total = fade * total + jnp.sum(share, axis=-1, keepdims=True)",
        "total = total + jnp.sum(share, axis=-1, keepdims=True)",
        (ATTENTION,),
    ),
    Fault(
        "positions count padding",
        "models/attention/layout.py",
        "positions = jnp.maximum(jnp.cumsum(mask, axis=-1) - 1, 0)",
        "positions = jnp.broadcast_to(jnp.arange(mask.shape[-1]), mask.shape)",
        (ATTENTION,),
    ),
    Fault(
        "repeated rows of a cache stand in turns",
        "models/cache.py",
        "key=jnp.repeat(self.key, times, axis=1),",
        "key=jnp.concatenate([self.key] * times, axis=1),",
        (CACHE,),
    ),
    Fault(
        "a row is written behind the first row's end",
        "models/cache.py",
        "where = (layer, 0, length, 0)",
        "where = (layer, 0, 0 * length, 0)",
        (CACHE,),
    ),
    Fault(
        "products of float32 ask for the fastest precision",
        "models/precision.py",
        "Precision.HIGHEST if wide",
        "Precision.DEFAULT if wide",
        ("rollout/test_weights.py::test_products_of_float32_ask_for_float32",),
    ),
    Fault(
        "keys and values of a checkpoint are swapped",
        "models/huggingface/table.py",
        '"blocks/attention/key/kernel": (_LAYER + "self_attn.k_proj.weight", True)',
        '"blocks/attention/key/kernel": (_LAYER + "self_attn.v_proj.weight", True)',
        BY_HAND,
        also=(
            (
                'value/kernel": (_LAYER + "self_attn.v_proj.weight"',
                'value/kernel": (_LAYER + "self_attn.k_proj.weight"',
            ),
        ),
    ),
    Fault(
        "every layer is read into the first",
        "models/huggingface/load.py",
        "dynamic_update_index_in_dim(whole, piece, layer, axis=0)",
        "dynamic_update_index_in_dim(whole, piece, 0, axis=0)",
        BY_HAND,
    ),
    Fault(
        "an export ends a file only after it is full",
        "models/huggingface/save.py",
        "if files[-1] and size + needed > file_bytes:",
        "if files[-1] and size > file_bytes:",
        ("models/test_weight_files.py",),
    ),
    Fault(
        "a tied head that differs is taken for a copy",
        "models/huggingface/load.py",
        "if one.get_shape() == [rows, width] and all(",
        "if one.get_shape() == [rows, width] and any(",
        ("models/test_weight_files.py",),
    ),
    Fault(
        "the stretch of YaRN is undone for slow pairs",
        "models/rope.py",
        "frequency * (1 - slow + slow / self.factor), scale",
        "frequency * (slow + (1 - slow) / self.factor), scale",
        ("models/test_rope.py",),
    ),
    Fault(
        "fast pairs of Llama 3 are slowed down",
        "models/rope.py",
        "frequency * (share + (1 - share) / self.factor), 1.0",
        "frequency * (1 - share + share / self.factor), 1.0",
        ("models/test_rope.py",),
    ),
    Fault(
        "parameters are gathered along their first axis",
        "distributed/mesh.py",
        "names, axis=place, tiled=True",
        "names, axis=0, tiled=True",
        (PARALLEL,),
    ),
    Fault(
        "devices stand in the order JAX lists them",
        "distributed/mesh.py",
        "sorted(jax.devices(), key=lambda d: (d.process_index, d.id))",
        "list(jax.devices())",
        (PARALLEL,),
    ),
    Fault(
        "processes take the rows of a batch in turns",
        "distributed/mesh.py",
        "slice(jax.process_index() * size, (jax.process_index() + 1) * size)",
        "slice(jax.process_index(), count, jax.process_count())",
        (PARALLEL,),
    ),
    Fault(
        "the last process takes what the first one took",
        "distributed/mesh.py",
        "size = count // jax.process_count()",
        "size = count // max(jax.process_count() - 1, 1)",
        (PARALLEL,),
    ),
    Fault(
        "texts of processes are measured in characters",
        "distributed/hosts.py",
        "max(map(len, rows), default=0)",
        "max(map(len, texts), default=0)",
        (PARALLEL,),
    ),
    Fault(
        "a process alone decides that all are well",
        "distributed/hosts.py",
        "failed = max_over_hosts(failed)",
        "failed = bool(failed)",
        (PARALLEL,),
    ),
    Fault(
        "the axis of layers may be split",
        "models/sharding.py",
        '"layers": (),',
        '"layers": ("fsdp",),',
        (PARALLEL,),
    ),
]
