"""Symbolic batch: one module for every batch size, from lowerings at two or three of them."""

from tfaot.symbolic.errors import NotSymbolicError
from tfaot.symbolic.merge import merge
from tfaot.symbolic.specialise import specialise

__all__ = ["NotSymbolicError", "merge", "specialise"]
