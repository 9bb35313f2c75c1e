"""Pictures and tables, from gates and from runs."""
