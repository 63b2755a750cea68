"""Graphs: variables, operations, `bind`, tracing, the grammar of a valid graph, printing."""
