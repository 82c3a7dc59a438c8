"""Models: their parameters, their prices, and what they accept."""
