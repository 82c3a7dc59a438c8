"""The world outside, one library a file. Nothing here knows what Wiro's messages mean."""
