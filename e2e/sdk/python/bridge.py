"""Calls the PyPI package `pusher` as told, one JSON request and one JSON answer a line.

A request is {"call": METHOD, "args": [...], "kwargs": {...}}; the answer is {"result": ...} or
{"error": CLASS, "text": ...}. The stories themselves, with their subscribers, are in python.test.mjs.
"""

import json
import os
import sys

import pusher


def main():
    client = pusher.Pusher(
        app_id=os.environ["PUSHER_APP_ID"],
        key=os.environ["PUSHER_APP_KEY"],
        secret=os.environ["PUSHER_APP_SECRET"],
        host=os.environ["PUSHER_HOST"],
        port=int(os.environ["PUSHER_PORT"]),
        ssl=False,
        encryption_master_key_base64=os.environ.get("PUSHER_MASTER_KEY"),
    )
    for line in sys.stdin:
        request = json.loads(line)
        try:
            method = getattr(client, request["call"])
            answer = {"result": method(*request.get("args", []), **request.get("kwargs", {}))}
        except Exception as error:  # each refusal is an answer to the story, whatever its class
            answer = {"error": type(error).__name__, "text": str(error)}
        # A shared secret comes as bytes.
        print(json.dumps(answer, default=lambda value: value.decode()), flush=True)


if __name__ == "__main__":
    main()
