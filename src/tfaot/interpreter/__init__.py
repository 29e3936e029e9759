"""Reference interpreter of HLO in NumPy: the oracle of the tests and the constant folder."""

from tfaot.interpreter.evaluate import evaluate, evaluate_computation, fold, supported_opcodes

__all__ = ["evaluate", "evaluate_computation", "fold", "supported_opcodes"]
