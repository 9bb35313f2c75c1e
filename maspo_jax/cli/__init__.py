"""The command `maspo`: one module a subcommand."""
