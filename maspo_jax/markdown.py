"""Tables in Markdown, readable as text too."""


def markdown_table(heads, rows, left=1):
    """Returns a table as Markdown, a line each for its heads, a rule and its rows.

    Cells are filled up with spaces, so that columns stand below each other as text too.

    Args:
        heads: the text over each column.
        rows: of texts, one for each column; a `|` in one is escaped.
        left: columns from the first on that are set to the left, as words are; the
            others, of numbers, to the right.
    """
    rows = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    dashes = ["-" * (width - 1) for width in widths]
    rule = [f":{line}" for line in dashes[:left]] + [f"{d}:" for d in dashes[left:]]
    padded = [
        [
            *map(str.ljust, row[:left], widths),
            *map(str.rjust, row[left:], widths[left:]),
        ]
        for row in (rows[0], rule, *rows[1:])
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in padded)
