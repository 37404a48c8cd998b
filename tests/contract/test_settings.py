"""The runbook names every setting of every service."""

import re
from pathlib import Path

import pytest

from servemark.runtime.settings import ServiceSettings
from services.catalog.settings import CatalogSettings
from services.gateway.settings import GatewaySettings
from services.ingest.settings import IngestSettings
from services.ranking.settings import RankingSettings

RUNBOOK = Path(__file__).resolve().parents[2] / "deploy/runbook.md"


@pytest.mark.parametrize(
    "settings", [CatalogSettings, GatewaySettings, IngestSettings, RankingSettings]
)
def test_every_setting_is_in_the_runbook(settings: type[ServiceSettings]) -> None:
    table = RUNBOOK.read_text().partition("## Settings")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`([A-Z_]+)`", table))
    assert {name.upper() for name in settings.model_fields} <= documented
