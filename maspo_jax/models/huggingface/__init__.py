"""Checkpoints of Hugging Face: found, read into shards, written."""
