"""The folder of a run: its state, its checkpoints, its logs, its display."""
