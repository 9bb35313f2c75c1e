"""Why something is refused: all reasons at once, not the first alone."""

import contextlib


class Refused(ValueError):
    """Several reasons, each a text of one line or more."""

    def __init__(self, reasons):
        self.reasons = tuple(reasons)
        listed = ("\n  ".join(reason.splitlines()) for reason in self.reasons)
        super().__init__(
            "\n- ".join([f"{len(self.reasons)} things are wrong:", *listed])
        )


class Refusals:
    """Collects what checks raise, and raises it at the end, as one error.

        with Refusals() as refusals:
            with refusals.of("train_set"):
                len(train_set)
            if refusals.unaffected("train_set", "sampling"):
                with refusals.of():
                    check_something_of_both()

    A single error is raised as it was. A reason that was given already is left out. An
    error that ends the block comes on top of the others; one that nobody could mean as
    a refusal stays what it is, and has them as a note.
    """

    def __init__(self):
        self._errors = {}  # reason -> the error it stands in
        self._faulty = set()  # names of settings

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.raise_all()
        elif self._errors and issubclass(kind, ValueError | OSError):
            with self.of():
                raise error
            self.raise_all()
        elif self._errors:
            error.add_note("\n- ".join(["Beside this is wrong:", *self._errors]))

    def __bool__(self):
        return bool(self._errors)

    @contextlib.contextmanager
    def of(self, *names):
        """Collects the error that ends the block, if one does.

        Args:
            *names: of the settings that are at fault then, dotted.
        """
        try:
            yield
        except (ValueError, OSError) as error:
            self._faulty.update(names)
            for reason in getattr(error, "reasons", (str(error),)):
                self._errors.setdefault(reason, error)

    def unaffected(self, *names):
        """Returns whether nothing named, nor a part or the whole of it, is at fault."""
        return not any(
            f"{name}.".startswith(f"{each}.") or f"{each}.".startswith(f"{name}.")
            for name in names
            for each in self._faulty
        )

    def raise_all(self):
        """Raises what was collected, if anything."""
        errors = set(self._errors.values())
        if len(errors) == 1:
            raise errors.pop()
        if errors:
            raise Refused(self._errors)
