"""`maspo export`."""

import dataclasses
from typing import Annotated, Literal

import tyro

from maspo_jax import api
from maspo_jax.cli.console import command, status
from maspo_jax.storage import check_new, results_folder


@dataclasses.dataclass(frozen=True)
class Export:
    """Writes a policy as a Hugging Face checkpoint, which every other tool opens.

    The folder gets the configuration, the tokenizer, the weights and the chat template
    that the policy was trained with; no template if it was trained on plain text.
    """

    policy: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="POLICY")]
    """folder of a run, or a Hugging Face checkpoint: its folder or its name"""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """a new folder for the checkpoint"""
    step: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: newest)")
    ] = None
    """checkpoint of the run, by its step"""
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        tyro.conf.arg(
            metavar="{float32,bfloat16}",
            help_behavior_hint="(default: dtype of the parameters)",
        ),
    ] = None
    """dtype of the weights"""

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
        print(f"{policy.title} is in {folder}. To ask it as it was trained:")
        print(f"  maspo evaluate {folder} FILE {asked_as(policy)}")


def asked_as(policy):
    """Returns the options of an evaluation that ask as a policy was trained."""
    from maspo_jax.data.prompts import templates

    style = getattr(policy.template, "style", policy.template)  # of a chat's turn
    named = f"--template {style.name} " if style in templates.ALL else ""
    prompt, response = policy.prompt_length, policy.response_length
    return f"{named}--prompt-length {prompt} --response-length {response}"


main = command(Export)
