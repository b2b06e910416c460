"""The command line: LightningCLI with more commands, one run folder, and a mistake as one line."""
