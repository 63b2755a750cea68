"""The native compiler: graphs become machine code through llvmlite."""
