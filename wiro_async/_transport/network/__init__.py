"""What HTTP and WebSockets share: certificates, proxies, and how a failed connection is described."""
