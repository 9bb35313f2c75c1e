"""`maspo export`."""

import dataclasses
import shlex
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
        asked = asked_as(policy, folder, self.policy)
        print(f"{policy.title} is in {folder}. {asked}")


def asked_as(policy, folder, source):
    """Returns how a policy is asked as it was trained.

    Args:
        policy: a `Policy`.
        folder: where it was written; a template is known there by its name alone.
        source: where it came from.
    """
    from maspo_jax.data.prompts import templates

    style = getattr(policy.template, "style", policy.template)  # of a chat's turn
    if style not in templates.ALL:
        return f"Its template has no name for --template: evaluate {source} instead"
    return (
        "To ask it as it was trained:\n"
        f"  maspo evaluate {shlex.quote(str(folder))} FILE --template {style.name} "
        f"--prompt-length {policy.prompt_length} "
        f"--response-length {policy.response_length}"
    )


main = command(Export)
