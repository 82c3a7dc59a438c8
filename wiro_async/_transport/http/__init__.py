"""HTTP over any httpx transport; the only place that imports httpx, at first use."""

from wiro_async._transport.http.transport import Download, HttpResponse, HttpTransport

__all__ = ["Download", "HttpResponse", "HttpTransport"]
