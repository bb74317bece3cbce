"""From a checkpoint folder, as Hugging Face has them, to a GGUF file."""
