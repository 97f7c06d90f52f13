"""The salts of the port `IdSource`, over every backend."""

from coordinator.domain.pseudonyms import is_salt
from coordinator.ports.identity import IdSource


def test_salts_have_their_form_and_never_repeat(ids: IdSource) -> None:
    made = [ids.new_salt() for _ in range(1000)]
    assert all(map(is_salt, made))
    assert len(set(made)) == 1000
