"""Results of runs: their outputs, their answers in a form, and the items of batches."""
