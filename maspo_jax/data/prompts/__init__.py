"""From a problem to the tokens a policy is asked: templates and tokenizers."""
