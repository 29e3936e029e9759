"""Batch-parallel analysis: does every op keep the batch rows apart?

Input: a symbolic module. Output: `BatchAnalysis`, with the layout of the rows in each value and,
where rows are not independent, the op and layer that mixes them. Where they are independent, the
model may run over tiles of rows, with a workspace that does not grow with the batch.
"""

from tfaot.passes.batch_parallel import indexing, movement, reduction
from tfaot.passes.batch_parallel.analysis import BatchAnalysis, analyse_batch
from tfaot.passes.batch_parallel.facts import Fact, FactTree, RowLayout

__all__ = [
    "BatchAnalysis",
    "Fact",
    "FactTree",
    "RowLayout",
    "analyse_batch",
    "indexing",
    "movement",
    "reduction",
]
