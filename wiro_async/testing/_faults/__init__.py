"""Faults that tests switch on."""
