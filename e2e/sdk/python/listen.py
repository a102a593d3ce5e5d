"""Drives `Pysher`, a client that shares no code with the official ones, as told by one JSON request a line.

A request is {"do": "subscribe" | "unsubscribe" | "trigger", ...}. Each event that the client hands to its user is
one JSON line {"channel": ..., "event": ..., "data": ...}. The stories are in pysher.test.mjs.
"""

import json
import os
import queue
import sys

import pysher

EVENTS = [
    "pusher_internal:subscription_succeeded",
    "pusher_internal:member_added",
    "pusher_internal:member_removed",
    "pusher:subscription_error",
    "pusher:cache_miss",
    "said",
    "client-typing",
]


def tell(channel, event, data):
    print(json.dumps({"channel": channel, "event": event, "data": data}), flush=True)


def main():
    client = pysher.Pusher(
        os.environ["PUSHER_APP_KEY"],
        secure=False,
        custom_host=os.environ["PUSHER_HOST"],
        port=int(os.environ["PUSHER_PORT"]),
        secret=os.environ["PUSHER_APP_SECRET"],
        user_data=json.loads(os.environ["PUSHER_USER"]),
    )
    waiting = queue.Queue()

    def work(request):
        if request["do"] == "subscribe":
            channel = client.subscribe(request["channel"])
            for event in EVENTS:
                channel.bind(event, lambda data, name=channel.name, event=event: tell(name, event, data))
        elif request["do"] == "unsubscribe":
            client.unsubscribe(request["channel"])
        elif request["do"] == "trigger":
            client.channel(request["channel"]).trigger(request["event"], request["data"])

    def pong(data):
        tell(None, "pusher:pong", data)
        while not waiting.empty():
            work(waiting.get())

    # Pysher makes a channel known after it asked for it. Where its events are handled, none can come in between; so each
    # request waits for the answer to a ping.
    client.connection.bind("pusher:pong", pong)
    for event in ["pusher:connection_established", "pusher:error"]:
        client.connection.bind(event, lambda data, event=event: tell(None, event, data))
    client.connect()
    for line in sys.stdin:
        waiting.put(json.loads(line))
        client.connection.send_ping()
    client.disconnect()


if __name__ == "__main__":
    main()
