"""What an answer says and when two say the same."""
