"""Whose call it is travels from the gateway to the services; what is not said is not trusted."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemark.runtime import tenancy
from servemark.runtime.errors import ServemarkError
from servemark.runtime.tenancy import CALLER, ORGANIZATION, PLATFORM, PUBLIC, Tenant

tenants = st.builds(
    Tenant,
    st.uuids(),
    st.booleans(),
    st.frozensets(st.text(min_size=1, max_size=20), max_size=4),
)


@given(tenants)
def test_metadata_says_whose_call_it_is(tenant: Tenant) -> None:
    said = tenancy.to_metadata(tenant)
    assert tenancy.from_metadata(said) == tenant
    assert all(value.isascii() and value.isprintable() for _, value in said)


def test_a_call_without_an_organization_is_our_own() -> None:
    assert tenancy.from_metadata([("x-request-id", "7")]) == PLATFORM


def test_a_caller_without_an_organization_sees_what_is_public() -> None:
    assert tenancy.from_metadata([(CALLER, "abcdefgh")]) == PUBLIC


def test_an_organization_that_is_no_uuid_is_refused() -> None:
    with pytest.raises(ServemarkError, match="no UUID"):
        tenancy.from_metadata([(ORGANIZATION, "all")])


def test_no_organization_has_the_scope_of_all() -> None:
    organization = uuid4()
    assert tenancy.from_metadata([(ORGANIZATION, str(organization))]).scope == str(organization)
    assert (PLATFORM.scope, PUBLIC.scope) == ("all", "")
