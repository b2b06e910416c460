"""What samples completions: vLLM in this process, a vLLM server, or transformers."""
