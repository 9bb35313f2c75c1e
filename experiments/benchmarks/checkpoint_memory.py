"""Host memory that loading a sharded checkpoint takes beyond the parameters.

    python experiments/benchmarks/checkpoint_memory.py

A policy of 1.2 B parameters is written in files of 500 MB and loaded by processes of
their own: onto 8 simulated devices that share it, and, where it is installed, by
`transformers`. Devices and host are one memory on a CPU, so that of the parameters is
taken off. The bound is 1.2 times the largest file. Obtained: 471 MB here, 0.94 of the
largest file of 499 MB; 146 MB by `transformers`, which maps files into memory.
"""

import argparse
import multiprocessing
import pathlib
import tempfile

from maspo_jax.models import sharding

DEVICES = 8
FILE_BYTES = 5 * 10**8
MB = 10**6


def config():
    """Returns the `DecoderConfig` of the policy."""
    from maspo_jax.models.decoder import DecoderConfig

    return DecoderConfig(
        vocabulary=32768,
        width=2048,
        depth=24,
        query_heads=16,
        key_value_heads=4,
        head_width=128,
        feed_forward=6144,
        qkv_bias=True,
        dtype="bfloat16",
    )


def write(folder):
    """Writes the checkpoint."""
    import jax
    from flax import nnx

    from maspo_jax.models.decoder import Decoder
    from maspo_jax.models.huggingface.save import export

    policy = jax.jit(lambda: Decoder(config(), nnx.Rngs(0)))()
    export(policy, folder, longest=1024, eos_tokens=(1,), pad=0, file_bytes=FILE_BYTES)


def load_here(folder, results):
    """Loads it onto the devices, and reports the bytes taken and those of arrays."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    from maspo_jax import distributed
    from maspo_jax.models.huggingface import load

    mesh = distributed.make_mesh(DEVICES)
    skeleton = load.skeleton(config())
    shardings = distributed.named_shardings(sharding.param_specs(skeleton, mesh), mesh)
    jax.block_until_ready(jax.jit(lambda: jax.numpy.zeros(8))())
    before = peak()
    policy = jax.block_until_ready(load.load(folder, config(), shardings))
    taken = peak() - before
    held = sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(policy)
        for shard in leaf.addressable_shards
    )
    results.put((taken, held))


def load_there(folder, results):
    """Loads it by `transformers`, likewise."""
    import torch
    import transformers

    before = peak()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16
    )
    for parameter in model.parameters():  # those it only mapped are read now
        parameter.data.add_(0)
    taken = peak() - before
    results.put((taken, sum(p.nbytes for p in model.parameters())))


def peak():
    """Returns the most memory this process has held so far, in bytes."""
    # Not `ru_maxrss`, which begins at that of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def measured(loader, folder):
    """Returns what a loader took beyond its parameters, and those, in bytes."""
    processes = multiprocessing.get_context("spawn")
    results = processes.SimpleQueue()
    process = processes.Process(target=loader, args=(folder, results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{loader.__name__} failed")
    taken, held = results.get()
    return taken - held, held


def main():
    """Writes the checkpoint, loads it and prints the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        largest = max(f.stat().st_size for f in pathlib.Path(folder).glob("*.saf*"))
        print(f"largest file {largest / MB:.0f} MB")
        loaders = {"maspo_jax, 8 shards": load_here}
        try:
            import transformers  # noqa: F401  only to see whether it is there

            loaders["transformers, whole"] = load_there
        except ImportError:
            print("transformers is not installed: not compared")
        for name, loader in loaders.items():
            extra, held = measured(loader, folder)
            print(
                f"{name}: parameters {held / MB:.0f} MB, beyond them {extra / MB:.0f} "
                f"MB = {extra / largest:.2f} of the largest file"
            )


if __name__ == "__main__":
    main()
