"""Writing LLVM assembly: scalar expressions, vectors, and the strided arrays they touch."""
