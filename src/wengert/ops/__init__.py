"""The primitives, each in one record, and what is composed of them."""
