"""What a person types: one file per command, loaded when it is called."""
