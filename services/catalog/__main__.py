"""`python -m services.catalog`: the catalog service, until SIGTERM."""

import sys

from servemark.runtime.app import run_service
from services.catalog.app import create
from services.catalog.settings import CatalogSettings

if __name__ == "__main__":
    sys.exit(run_service("catalog", CatalogSettings, create))
