"""Passes over the HLO module, and analyses of it.

Input: a `Module` as imported from XLA's optimised HLO, fixed or symbolic in the batch.
Output: an equivalent `Module` in canonical form (`pipeline.default_passes`), and facts about it
for the later stages: where batch rows lie (`batch_parallel`), row-wise composites (`composites`).
"""
