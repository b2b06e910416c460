"""The mini world: our own problems, tokenizer and base model, in which hard problems really give no reward."""
