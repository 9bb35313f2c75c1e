"""Files of a checkpoint: a folder here, or a name on the Hugging Face hub."""

import functools
import pathlib
import re

# What a tokenizer and a template are read from, and what a decoder is.
TEXTS = ("*.json", "*.jinja", "*.txt")
WEIGHTS = (*TEXTS, "*.safetensors")


def is_name(name):
    """Returns whether a text is neither a path that exists nor one that ends in .json.

    Such as "Qwen/Qwen2.5-1.5B": a name on the hub has an owner and no more.
    """
    shaped = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name))
    return bool(shaped) and not pathlib.Path(name).exists() and ".json" not in str(name)


def revisions_of(name, folder):
    """Returns {name: commit} for a folder fetched from the hub, {} for another."""
    folder = pathlib.Path(folder)
    return {str(name): folder.name} if folder.parent.name == "snapshots" else {}


@functools.cache
def folder_of(name, revision=None, files=TEXTS):
    """Returns the folder of a checkpoint; fetches it from the hub if it must.

    Args:
        name: the folder, or a name on the hub.
        revision: of the hub: a branch, a tag or a commit.
        files: patterns of those to fetch.

    Raises:
        ValueError: a revision of a folder.
        FileNotFoundError: there is neither such a folder nor, now, such a name.
    """
    folder = pathlib.Path(name)
    if folder.is_dir():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r}: {name} is a folder here and has none; leave "
                "it out, or give the name on the hub"
            )
        return folder
    if not is_name(name):
        raise FileNotFoundError(f"no folder {name}, nor is it a name like OWNER/MODEL")
    import huggingface_hub  # slow to import, and most runs never need it

    try:
        fetched = huggingface_hub.snapshot_download(
            str(name),
            revision=revision,
            allow_patterns=list(files),
            ignore_patterns=["*/*"],  # other formats and other stages of training
        )
    except Exception as error:  # of the name, the network or the hub
        unknown = (
            huggingface_hub.errors.RepositoryNotFoundError,
            huggingface_hub.errors.RevisionNotFoundError,
        )
        remedy = "start the same command again: what has arrived is kept"
        if isinstance(error, unknown):
            remedy = "correct the name or the revision; if it is not public, log in"
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FileNotFoundError(
            f"{name!r} is no folder here, and the Hugging Face hub did not give it "
            f"({reason}). Where the hub can be reached, {remedy}; or download it to a "
            "folder and give that"
        ) from error
    return pathlib.Path(fetched)
