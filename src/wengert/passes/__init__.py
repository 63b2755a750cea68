"""Passes: graphs become smaller graphs of the same values, before native code is made of them."""
