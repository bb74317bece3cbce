"""Families as data: every module defines FAMILIES. Names and numbers are those of llama.cpp's converter (conversion/ there)."""
