"""From a tree to what it means, and when two meanings are the same."""
