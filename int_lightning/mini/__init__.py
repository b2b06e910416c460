"""The mini world: problems, tokenizer and base model of our own, in which hard problems really give no reward."""
