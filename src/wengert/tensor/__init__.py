"""The user's array: a mutable cell that is bound to a variable, and what acts on it."""
