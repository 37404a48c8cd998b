"""`python -m services.ranking`: answers what to choose."""

import os
import sys

# Before numpy is there: calls have threads of their own, and a product of matrices that waits for
# others to get a core takes a thousand times as long as one that does all by itself.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from servemark.runtime.app import run_service
from services.ranking.app import create
from services.ranking.settings import RankingSettings

if __name__ == "__main__":
    sys.exit(run_service("ranking", RankingSettings, create))
