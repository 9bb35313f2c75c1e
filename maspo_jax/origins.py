"""What an experiment is made of beside its settings: the content of its files.

A part that reads files says so with two properties, both of dicts: `digests`, from the
name of each file to a text that another content would not give, and `revisions`, from a
name on the hub to the commit that was fetched. Weights are not among the files: they
are large, and a run that goes on does not read them again.
"""

import dataclasses
import hashlib
import json
import pathlib


def digests(part):
    """Returns {file: digest} of all files that a part of an experiment is read from."""
    return _collected(part, "digests")


def revisions(part):
    """Returns {name on the hub: commit} of all that a part was fetched from."""
    return _collected(part, "revisions")


def of_files(name, folder, files):
    """Returns the digests of those files of a folder that are there.

    Args:
        name: of the folder, as the user gave it: a path, or a name on the hub.
        folder: where it is here.
        files: names within it.
    """
    return {
        str(pathlib.PurePath(name, file)): of_file(folder / file)
        for file in files
        if (folder / file).is_file()
    }


def of_file(path):
    """Returns the digest of the content of a file."""
    with open(path, "rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def of_values(values):
    """Returns the digest of plain data."""
    return f"sha256 {hashlib.sha256(json.dumps(values).encode()).hexdigest()}"


def _collected(part, attribute):
    found = dict(getattr(part, attribute, {}))
    if isinstance(part, tuple | list):
        inside = part
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        inside = [getattr(part, field.name) for field in dataclasses.fields(part)]
    else:
        return found
    for one in inside:
        found |= _collected(one, attribute)
    return found
