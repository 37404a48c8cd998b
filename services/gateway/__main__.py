"""`python -m services.gateway`: the one port the outside calls."""

import sys

import uvloop

from servemark.runtime.app import run_service
from services.gateway.app import create
from services.gateway.settings import GatewaySettings

if __name__ == "__main__":
    # For each call its loop passes on a handful of events, which uvloop does in less time.
    sys.exit(run_service("gateway", GatewaySettings, create, run=uvloop.run))
