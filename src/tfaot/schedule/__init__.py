"""Scheduling: which instructions form a kernel, where values live, how many rows run at once."""
