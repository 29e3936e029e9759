"""Models in, optimised HLO out: TensorFlow runs in a worker process, never in the compiler's.

Input: a SavedModel, a Keras file, a frozen graph or a Python object (`open_model`).
Output: a `LoadedModel` with its signature and its HLO protos at the batch sizes asked for.
Only `frontend.tensorflow` imports TensorFlow.
"""
