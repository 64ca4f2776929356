"""The process that sends notifications, as the supervisor starts it: `python -m commands.send --link FD`."""

from __future__ import annotations

import argparse
import signal
import socket

from gateways.notify.child import serve


def main() -> None:
    """Send until the supervisor is gone."""
    parser = argparse.ArgumentParser(description="Started by the supervisor; not for people.")
    parser.add_argument("--link", type=int, required=True, help="socket to the supervisor")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the supervisor's terminal is the supervisor's to answer
    serve(socket.socket(fileno=parser.parse_args().link))


if __name__ == "__main__":
    main()
