"""The journal of a batch: what was sent and what came back, on disk, so that a killed batch can be resumed."""
