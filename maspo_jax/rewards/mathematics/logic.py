"""Three-valued logic: True, False, or None for "not decided here"."""


def every(verdicts):
    """True if all are, False if one is, else None; stops at the first False."""
    unknown = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unknown = unknown or verdict is None
    return None if unknown else True


def either(verdicts):
    """False if all are, True if one is, else None; stops at the first True."""
    unknown = False
    for verdict in verdicts:
        if verdict:
            return True
        unknown = unknown or verdict is None
    return None if unknown else False


def paired(gold, answer, compare):
    """Whether two equally long lists match one to one, in any order."""
    table = [[compare(a, b) for b in answer] for a in gold]
    if _perfect([[verdict is True for verdict in row] for row in table]):
        return True
    if not _perfect([[verdict is not False for verdict in row] for row in table]):
        return False
    return None


def _perfect(table):
    """Whether a square table of bools allows a perfect matching."""
    partner = {}

    def assign(row, seen):
        for column, allowed in enumerate(table[row]):
            if allowed and column not in seen:
                seen.add(column)
                if column not in partner or assign(partner[column], seen):
                    partner[column] = row
                    return True
        return False

    return all(assign(row, set()) for row in range(len(table)))
