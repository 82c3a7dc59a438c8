"""Names of files, files that the service keeps, and ranges of downloads."""
