"""Floor 3: characters to token ids and back, and conversations to prompts. Knows no model and no file."""
