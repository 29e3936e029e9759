"""Tools for tests and the fuzzer: building modules, op cases as data, comparison in ULP."""
