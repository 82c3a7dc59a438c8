"""Files: their names, the ones that the service keeps, and every decision about downloading them."""
