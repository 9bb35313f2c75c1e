"""From a policy to a better one: updates, the loop around them, and its records."""
