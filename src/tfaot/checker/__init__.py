"""Whether a model can be compiled, op by op, before it is.

Input: a model as `tfaot compile` takes it. Output: a `CheckReport`, with one row per TensorFlow op:
its types, its Keras layer, what XLA and the code generator say of it, and what to do. Nothing is
asked of lists: TensorFlow tells its kernels, trial lowerings what XLA takes, and code is generated
for what comes out.
"""

from tfaot.checker.check import check_model
from tfaot.checker.report import BatchReport, CheckReport, OpReport

__all__ = ["BatchReport", "CheckReport", "OpReport", "check_model"]
