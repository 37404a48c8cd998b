"""THE table of what may be called, and the scope each method needs. What is not here is refused.

A test walks every method of every descriptor and proves that each is in here, once.
"""

from collections.abc import Mapping
from typing import Final

READ: Final = "READ"
INGEST: Final = "INGEST"
CATALOG: Final = "CATALOG"
# Includes READ and INGEST, and in the default organization everything.
ADMIN: Final = "ADMIN"
SCOPES: Final = (READ, INGEST, CATALOG, ADMIN)
# No key has it: it is ADMIN of the default organization, which runs what all share.
PLATFORM: Final = "PLATFORM"

VIEWER: Final = "VIEWER"
RUNNER: Final = "RUNNER"
EDITOR: Final = "EDITOR"
ADMINISTRATOR: Final = "ADMIN"
SCOPES_OF_ROLE: Final[Mapping[str, frozenset[str]]] = {
    VIEWER: frozenset({READ}),
    RUNNER: frozenset({READ, INGEST}),
    EDITOR: frozenset({READ, INGEST, CATALOG}),
    ADMINISTRATOR: frozenset({ADMIN}),
}

ADMIN_SERVICE: Final = "servemark.gateway.v1.AdminService"
CATALOG_SERVICE: Final = "servemark.catalog.v1.CatalogService"
INGEST_SERVICE: Final = "servemark.ingest.v1.IngestService"
STORAGE_SERVICE: Final = "servemark.ingest.v1.StorageService"
RANKING_SERVICE: Final = "servemark.ranking.v1.RankingService"
EVENT_SERVICE: Final = "servemark.events.v1.EventService"

GRANTS_OF_SERVICE: Final[Mapping[str, Mapping[str, str]]] = {
    CATALOG_SERVICE: {
        "CreateModel": CATALOG,
        "GetModel": READ,
        "BatchGetModels": READ,
        "ListModels": READ,
        "UpdateModel": CATALOG,
        "ArchiveModel": CATALOG,
        "CreateModelVersion": CATALOG,
        "GetModelVersion": READ,
        "BatchGetModelVersions": READ,
        "ListModelVersions": READ,
        "UpdateModelVersion": CATALOG,
        "ArchiveModelVersion": CATALOG,
        "CreateHardwareConfig": CATALOG,
        "GetHardwareConfig": READ,
        "BatchGetHardwareConfigs": READ,
        "ListHardwareConfigs": READ,
        "UpdateHardwareConfig": CATALOG,
        "ArchiveHardwareConfig": CATALOG,
        "CreateInferenceFramework": CATALOG,
        "GetInferenceFramework": READ,
        "BatchGetInferenceFrameworks": READ,
        "ListInferenceFrameworks": READ,
        "UpdateInferenceFramework": CATALOG,
        "ArchiveInferenceFramework": CATALOG,
        "CreateUseCase": CATALOG,
        "GetUseCase": READ,
        "BatchGetUseCases": READ,
        "ListUseCases": READ,
        "UpdateUseCase": CATALOG,
        "ArchiveUseCase": CATALOG,
        "CreateModelUseCase": CATALOG,
        "GetModelUseCase": READ,
        "BatchGetModelUseCases": READ,
        "ListModelUseCases": READ,
        "UpdateModelUseCase": CATALOG,
        "ArchiveModelUseCase": CATALOG,
        "ListHardwarePrices": READ,
        "SetHardwarePrice": CATALOG,
        "ResolveConfigs": READ,
    },
    INGEST_SERVICE: {
        "AppendResults": INGEST,
        "StreamResults": INGEST,
        # A sender asks these about what it sent: where to go on, and what was refused and why.
        "GetStreamCursor": INGEST,
        "ListRejections": INGEST,
        "GetBenchmarkResult": READ,
        "ListBenchmarkResults": READ,
        "ListConfigSummaries": READ,
        "ListDailyModelStats": READ,
        "QueryTimeSeries": READ,
        "DetectRegressions": READ,
    },
    # What they show is how much there is and where it lies; what they do is dear.
    STORAGE_SERVICE: {
        "GetStorage": PLATFORM,
        "MaintainStorage": PLATFORM,
        "ListArchivedDays": PLATFORM,
        "VerifyArchivedDays": PLATFORM,
        "RestoreArchivedDays": PLATFORM,
    },
    RANKING_SERVICE: {
        "Recommend": READ,
        "GetRankings": READ,
        "GetParetoFront": READ,
        "CompareConfigurations": READ,
        "RankMatrix": READ,
        # Makes the server calculate and store; results are followed without it.
        "RefreshRankings": PLATFORM,
    },
    # Events tell what others store, and a replay makes the server work.
    EVENT_SERVICE: {
        "GetEventLag": PLATFORM,
        "ListDeadLetters": PLATFORM,
        "ReplayDeadLetters": PLATFORM,
    },
    ADMIN_SERVICE: {
        "CreateOrganization": PLATFORM,
        "GetOrganization": ADMIN,
        "ListOrganizations": PLATFORM,
        "RenameOrganization": ADMIN,
        "CreateUser": ADMIN,
        "ListUsers": ADMIN,
        "DisableUser": ADMIN,
        "CreateApiKey": ADMIN,
        "GetApiKey": ADMIN,
        "ListApiKeys": ADMIN,
        "UpdateApiKeyLimits": ADMIN,
        "RotateApiKey": ADMIN,
        "RevokeApiKey": ADMIN,
        "GetSettings": ADMIN,
        "UpdateSettings": ADMIN,
        "ListAuditLog": ADMIN,
    },
}

GRANTS: Final[Mapping[str, str]] = {
    f"/{service}/{method}": scope
    for service, methods in GRANTS_OF_SERVICE.items()
    for method, scope in methods.items()
}


def allowed(scope: str, held: frozenset[str], *, of_platform: bool) -> bool:
    """Whether a caller with the scopes `held` may do what needs `scope`.

    `of_platform`: the caller is of the default organization. What all organizations share, such as
    the catalog, an administrator of another one changes only with a scope given for that.
    """
    if scope in held:
        return True
    return ADMIN in held and (of_platform or scope in (READ, INGEST))
