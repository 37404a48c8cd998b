"""Messages about settings to the gateway's own words, and back."""

from servemark.gateway.v1 import setting_pb2
from servemark.runtime.validation import Violations
from services.gateway.convert import publishes_from_proto, visibility_to_proto


def publishes_setting_from_proto(request: setting_pb2.UpdateSettingsRequest) -> bool:
    """What a request sets. Raises INVALID_FIELD where it sets nothing."""
    violations = Violations()
    field = "settings.result_visibility"
    publishes = publishes_from_proto(violations, field, request.settings.result_visibility)
    if publishes is None:
        violations.add(field, "is required: there is nothing else to change")
    violations.raise_if_any()
    return bool(publishes)


def settings_to_proto(publishes: bool) -> setting_pb2.Settings:
    """Settings as they are shown."""
    return setting_pb2.Settings(result_visibility=visibility_to_proto(publishes))
