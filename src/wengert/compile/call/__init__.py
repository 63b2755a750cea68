"""Calls of compiled functions that run no Python code."""
