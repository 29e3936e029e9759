"""Kernels: loops over a fused expression, reductions, and register-tiled dots."""
