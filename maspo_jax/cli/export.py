"""Writes a policy as a checkpoint of Hugging Face, which every other tool opens.

    maspo export RUN --out FOLDER [--step N] [--dtype bfloat16]

RUN is the folder of a run, or a checkpoint of Hugging Face: its folder or its name.
FOLDER gets its configuration, tokenizer, weights and the chat template that it was
trained with; none if that was plain text around a question, which other tools add.
"""

import argparse
import sys

from maspo_jax.cli.console import fail, signals_end_at_once, status
from maspo_jax.storage import check_new, results_folder


def main(words=None):
    """Runs the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="maspo export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", metavar="RUN", help="a run, or a checkpoint of Hugging Face"
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("--step", type=int, help="of the checkpoint (the newest)")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"), help="(that of the parameters)"
    )
    arguments = parser.parse_args(words)
    with signals_end_at_once():
        try:
            folder = results_folder(arguments.out)
            check_new(folder)
        except (ValueError, OSError) as error:
            return fail(error)
        with status("loading JAX"):
            import jax  # which takes seconds
            import safetensors

            from maspo_jax import distributed
            from maspo_jax.data.prompts import tokenizer_files
            from maspo_jax.evaluation import policies
            from maspo_jax.models.huggingface.save import export

        try:
            with status("reading the policy"):
                mesh = distributed.make_mesh(fsdp=jax.device_count())
                policy = policies.open_policy(arguments.run, mesh, arguments.step)
            with status(f"writing {folder}"):
                tokenizer_files.check(policy.tokenizer)
                export(
                    policy.decoder,
                    folder,
                    longest=policy.prompt_length + policy.response_length,
                    eos_tokens=policy.tokenizer.eos_tokens,
                    pad=policy.tokenizer.pad_token_id,
                    source=policy.source,
                    dtype=arguments.dtype,
                )
                tokenizer_files.write(policy.tokenizer, folder, policy.template)
        except (ValueError, OSError) as error:
            return fail(error)
        except safetensors.SafetensorError as error:  # of a full disk, for example
            return fail(f"{folder}: {error}; make room, and give a new folder")
    print(f"{policy.title} is in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
