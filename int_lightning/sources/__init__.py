"""Where problems come from: files, the Hugging Face hub, reasoning-gym and the mini world; one by one or as a pool."""
