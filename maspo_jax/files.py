"""Files that others wrote: a bad one is refused by its name, with the remedy."""

import json


def read_json_object(file):
    """Returns the JSON object that a file holds, a dict.

    Args:
        file: a `pathlib.Path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    remedy = "restore it, or fetch it again"
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file.parent} has no {file.name}") from error
    except (ValueError, RecursionError) as error:  # the latter of deep nesting
        raise ValueError(f"{file} is not JSON ({error}): {remedy}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds no JSON object: {remedy}")
    return found
