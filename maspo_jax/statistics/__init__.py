"""Estimators, intervals and comparisons. NumPy and SciPy only."""
