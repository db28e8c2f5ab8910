"""An FTP server made of pyftpdlib, for tests.

    pyftpdlib-server.py SETTINGS.json

The settings are what servers/pyftpdlib.ts writes. Logs every command and reply to standard error, passwords masked.
"""

import json
import logging
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer


def implicit(handler):
    """The same handler, with TLS from the first byte: pyftpdlib knows explicit TLS only."""

    class Implicit(handler):
        _first_words = None

        def _secure_first(self, first_words):
            self._first_words = first_words
            self.secure_connection(self.ssl_context)

        def handle(self):
            self._secure_first(super().handle)

        def handle_max_cons(self):
            self._secure_first(super().handle_max_cons)

        def handle_max_cons_per_ip(self):
            self._secure_first(super().handle_max_cons_per_ip)

        def handle_ssl_established(self):
            first_words, self._first_words = self._first_words, None
            if first_words is not None:
                first_words()

    return Implicit


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        settings = json.load(file)
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format='%(message)s')

    authorizer = DummyAuthorizer()
    authorizer.add_user(settings['user'], settings['password'], settings['root'], perm='elradfmwMT')

    base = FTPHandler
    if settings['security'] != 'plain':
        # Needs pyOpenSSL, which a plain server does without.
        from pyftpdlib.handlers import TLS_FTPHandler

        base = TLS_FTPHandler
    handler = type('Handler', (implicit(base) if settings['security'] == 'implicit' else base,), {})
    handler.authorizer = authorizer
    handler.auth_failed_timeout = 0
    if settings['security'] != 'plain':
        handler.certfile = settings['certificate']
        handler.keyfile = settings['key']
        handler.tls_control_required = settings['requireTls']
        handler.tls_data_required = settings['requireTls']
    for name, value in settings['attributes'].items():
        if not hasattr(handler, name):
            raise SystemExit(f'pyftpdlib has no handler attribute {name}')
        setattr(handler, name, value)

    server = FTPServer((settings['host'], settings['port']), handler)
    # It counts every socket, those of data connections and its own, too.
    server.max_cons = settings['maxSockets']
    server.max_cons_per_ip = settings['maxClients']
    server.serve_forever()


main()
