"""Floor 4: prompt to tokens. Knows token ids only: nothing of files, formats, text or terminals."""
