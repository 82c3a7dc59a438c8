"""Conversations with LLMs and realtime models."""
