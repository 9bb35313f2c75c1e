"""The command `maspo`: one module a subcommand, one dataclass a module."""
