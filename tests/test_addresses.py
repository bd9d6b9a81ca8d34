"""Which address a key may be sent to."""

from __future__ import annotations

import pytest

from hedra_batch import errors
from hedra_batch.api.addresses import check_base_url


@pytest.mark.parametrize(
    "address", ["https://api.hedra.com/web-app/public/", "http://127.0.0.1:8080/x", "http://localhost"]
)
def test_a_key_goes_over_https_or_to_this_machine(address: str) -> None:
    assert check_base_url(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    ["http://api.hedra.com", "//x", "https://", "file:///etc", "https://a@b.c", "https://a.b/?k=1", "https://a:x"],
)
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"Nothing was sent\. Check --base-url, or HEDRA_BASE_URL"):
        check_base_url(address)


@pytest.mark.parametrize("address", ["api.hedra.com", "http://api.hedra.com"])
def test_an_address_without_https_is_named_with_what_it_lacks(address: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"'{address}' does not begin with https://"):
        check_base_url(address)


@pytest.mark.parametrize("address", ["https://me:SECRET@b.c", "http://me:SECRET@b.c", "https://me:SECRET@["])
def test_a_password_in_an_address_is_not_repeated(address: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        check_base_url(address)
    assert "SECRET" not in str(caught.value)
