"""Local files: written atomically, read for uploads, in threads."""
