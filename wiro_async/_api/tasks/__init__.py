"""Runs, handles, streams of events and of text."""
