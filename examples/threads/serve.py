"""The standard library's server with a new thread for each request: ``python serve.py 8000``."""

from __future__ import annotations

import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from wsgi import application


class Server(ThreadingMixIn, WSGIServer):
    """Each request has a thread of its own, which ends with it."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with make_server("127.0.0.1", port, application, server_class=Server) as server:
        server.serve_forever()
