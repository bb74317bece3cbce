"""Floor 3: programs to numbers. One folder per backend: reference/ (NumPy float64, the truth), cpu/ (Numba), gpu/ (WGSL)."""
