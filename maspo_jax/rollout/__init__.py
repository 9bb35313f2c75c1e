"""Drawing responses from the policy, and scoring given ones."""
