"""Realtime sessions."""
