"""`python -m services.gateway`: the one port the outside calls."""

import sys

from servemark.runtime.app import run_service
from services.gateway.app import create
from services.gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(run_service("gateway", GatewaySettings, create))
