"""`maspo export`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from maspo_jax import api
from maspo_jax.cli.console import command, status
from maspo_jax.storage import check_new, results_folder


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes a policy as a checkpoint of Hugging Face, which every other tool opens.

    The folder gets its configuration, tokenizer, weights and the chat template that it
    was trained with; none if that was plain text around a question, which other tools
    add.
    """

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")]
    """the folder of a run, or a checkpoint of Hugging Face: its folder or its name"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """a new folder"""
    step: int | None = None
    """of a run's checkpoint; None: the newest"""
    dtype: Literal["float32", "bfloat16"] | None = None
    """of the weights; None: that of the parameters"""

    def run(self):
        """Writes the folder."""
        folder = results_folder(self.out)
        check_new(folder)
        with status("loading JAX"):
            import jax

        with status("reading the policy"):
            policy = api.load_policy(
                self.policy, step=self.step, fsdp=jax.device_count()
            )
        with status(f"writing {folder}"):
            api.export(policy, folder, dtype=self.dtype)
        print(f"{policy.title} is in {folder}")


main = command(Export)
