"""What is ascended: advantages, token weights, gates, and the one surrogate."""
