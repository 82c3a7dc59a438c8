"""The clients that the benchmarks compare. `client(options)` of each yields a function that runs a model."""
