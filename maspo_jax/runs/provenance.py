"""What an experiment is made of beside its settings: the content of its files.

A part that reads files says so with two properties, both of dicts: `digests`, from the
name of each file to a text that another content would not give, and `revisions`, from a
name on the hub to the commit that was fetched. Weights are not among the files: they
are large, and a run that goes on does not read them again.
"""

import dataclasses


def digests(part):
    """Returns {file: digest} of all files that a part of an experiment is read from."""
    return _collected(part, "digests")


def revisions(part):
    """Returns {name on the hub: commit} of all that a part was fetched from."""
    return _collected(part, "revisions")


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
