"""AdminService: the settings of an organization."""

from typing import Any

from servemark.gateway.v1 import setting_pb2 as pb
from services.gateway.admission import current_caller
from services.gateway.convert_settings import publishes_setting_from_proto, settings_to_proto
from services.gateway.servicer_organizations import OrganizationMethods
from services.gateway.store_settings import SettingStore


class SettingMethods(OrganizationMethods):
    """The methods of AdminService about settings."""

    _settings: SettingStore

    async def GetSettings(
        self, request: pb.GetSettingsRequest, context: Any
    ) -> pb.GetSettingsResponse:
        """The settings that hold."""
        organization_id = await self.organization(request.organization_id)
        publishes = await self._settings.publishes(organization_id)
        return pb.GetSettingsResponse(settings=settings_to_proto(publishes))

    async def UpdateSettings(
        self, request: pb.UpdateSettingsRequest, context: Any
    ) -> pb.UpdateSettingsResponse:
        """Changes the settings a request names."""
        publishes = publishes_setting_from_proto(request)
        organization_id = await self.organization(request.organization_id)
        await self._settings.set_publishes(organization_id, publishes, current_caller().key_id)
        return pb.UpdateSettingsResponse(settings=settings_to_proto(publishes))
