"""The policy and its sizes."""
