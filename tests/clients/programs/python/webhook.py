import json
from http.server import BaseHTTPRequestHandler, HTTPServer

import fal_client


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        print(json.loads(body)["status"])

    def log_message(self, *arguments):
        pass


receiver = HTTPServer(("127.0.0.1", 0), Receiver)
handler = fal_client.submit(
    "fal-ai/flux/dev",
    arguments={"prompt": "a cat"},
    webhook_url=f"http://127.0.0.1:{receiver.server_port}/webhook",
)
print("IN_QUEUE", handler.request_id)
receiver.handle_request()
