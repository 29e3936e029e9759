"""Verification: the compiled object against TensorFlow and a float64 evaluation of the same HLO."""

from tfaot.verification.report import OutputReport, VerificationReport
from tfaot.verification.verify import BATCH_SIZES, verify_artifact, verify_model

__all__ = [
    "BATCH_SIZES",
    "OutputReport",
    "VerificationReport",
    "verify_artifact",
    "verify_model",
]
