"""Callbacks instead of sockets: an ASGI app that receives the callbacks of runs and ends the waits for them.

    receiver = WebhookReceiver(wiro)
    app.mount("/wiro", receiver)                       # FastAPI, Starlette, Litestar, Django: anything that speaks ASGI
    result = await wiro.run(model, input, callback_url=receiver.url_for("https://my.app/wiro"))

It needs no dependency beside those of the SDK.
"""

from wiro_async.webhooks._receiver import WebhookReceiver
from wiro_async.webhooks._statistics import WebhookStatistics

__all__ = ["WebhookReceiver", "WebhookStatistics"]

for _name in __all__:
    globals()[_name].__module__ = __name__
