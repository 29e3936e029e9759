"""Running artifacts from Python: NumPy in and out, no TensorFlow, compiler or linker.

Input: NAME.json and the object beside it. Output: a callable `Model`.
"""
