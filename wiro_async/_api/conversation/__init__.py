"""Conversations with LLMs."""
