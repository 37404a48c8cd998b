"""`python -m services.ranking`: answers what to choose."""

import sys

from servemark.runtime.app import run_service
from services.ranking.app import create
from services.ranking.settings import RankingSettings

if __name__ == "__main__":
    sys.exit(run_service("ranking", RankingSettings, create))
