"""Code generation: LLVM IR of kernels, and the object that LLVM makes of it."""
