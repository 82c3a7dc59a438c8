"""Shared by HTTP and WebSockets: addresses, certificates, proxies, and the description of a failed connection."""
