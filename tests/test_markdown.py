"""The one writer of Markdown tables."""

from maspo_jax.markdown import markdown_table


def test_columns_of_a_table_stand_below_each_other():
    rows = [["a", "1", "wide indeed"], ["longer", "234567", ""], ["é±", "8", "9"]]
    lines = markdown_table(["head", "n", "x"], rows).splitlines()
    assert len(lines) == 2 + len(rows) and len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    assert cells[0] == ["head", "n", "x"] and cells[2:] == rows
    for rule, left in zip(cells[1], (True, False, False), strict=True):
        assert set(rule) == {"-", ":"} and rule.startswith(":") == left
        assert rule.endswith(":") != left and len(rule) >= 3


def test_columns_of_words_stand_to_the_left():
    lines = markdown_table(["a", "word", "n"], [["x", "y", "1"]], left=2).splitlines()
    assert lines == [
        "| a   | word |   n |",
        "| :-- | :--- | --: |",
        "| x   | y    |   1 |",
    ]


def test_a_bar_within_a_cell_begins_no_column():
    row = markdown_table(["a", "b"], [["x|y", "1"]]).splitlines()[2]
    assert row.replace("\\|", "").count("|") == 3 and "x\\|y" in row
