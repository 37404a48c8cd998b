"""`python -m services.ingest`: takes results in, until SIGTERM."""

import sys

from servemark.runtime.app import run_service
from services.ingest.app import create
from services.ingest.settings import IngestSettings

if __name__ == "__main__":
    sys.exit(run_service("ingest", IngestSettings, create))
