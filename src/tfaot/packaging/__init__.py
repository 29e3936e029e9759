"""Packaging: manifest, C/C++ header and introspection data of an artifact.

Input: a `Manifest`. Output: the header's text, the LLVM IR of the introspection data, the JSON.
"""
