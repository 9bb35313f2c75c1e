"""How well a policy answers."""
