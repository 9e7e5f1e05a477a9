"""`auth-profiles.json`: which key is used, and that none is ever shown."""

from __future__ import annotations

import json
import logging
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.errors import BadConfig, PaiosError
from paios.config.credentials import Profiles, load_profiles, masked, parse_profiles

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BEFORE, AFTER = int(NOW.timestamp() * 1000) - 1, int(NOW.timestamp() * 1000) + 1
SECRET = "sk-thisisasecretofsomelength"


def key(provider: str = "openai", secret: str = SECRET, **more: object) -> dict[str, object]:
    return {"type": "api_key", "provider": provider, "key": secret, **more}


def token(provider: str = "openai", secret: str = SECRET, **more: object) -> dict[str, object]:
    return {"type": "token", "provider": provider, "access": secret, **more}


def profiles(table: dict[str, object], **more: object) -> Profiles:
    return parse_profiles(json.dumps({"version": 1, "profiles": table, **more}), Path("auth-profiles.json"))


def complaint(text: str) -> str:
    with pytest.raises(BadConfig) as caught:
        parse_profiles(text, Path("auth-profiles.json"))
    return str(caught.value)


def test_without_a_file_there_are_no_keys(tmp_path: Path) -> None:
    assert load_profiles(tmp_path).key_for("openai", NOW).secret is None


def test_profiles_are_tried_in_the_order_of_the_file() -> None:
    found = profiles({"a": key(secret="first"), "b": key(secret="second")}).key_for("openai", NOW)
    assert (found.secret, found.profile, found.skipped) == ("first", "a", ())


def test_the_last_good_profile_is_tried_first() -> None:
    assert profiles({"a": key(), "b": key(secret="second")}, last_good={"openai": "b"}).key_for("openai", NOW).profile == "b"


def test_an_order_is_exactly_what_is_used() -> None:
    table = profiles({"a": key(), "b": token(expires_at_ms=BEFORE)}, order={"openai": ["b"]}, last_good={"openai": "a"})
    found = table.key_for("openai", NOW)
    assert found.secret is None
    assert found.skipped == ("b expired 2026-11-21 23:59 UTC",)


def test_an_expired_profile_is_passed_over_with_the_reason() -> None:
    found = profiles({"a": token(expires_at_ms=BEFORE), "b": token(secret="fresh", expires_at_ms=AFTER)}).key_for("openai", NOW)
    assert (found.secret, found.profile) == ("fresh", "b")
    assert found.skipped == ("a expired 2026-11-21 23:59 UTC",)


def test_another_provider_s_profile_is_never_used() -> None:
    assert profiles({"a": key("anthropic")}).key_for("openai", NOW).secret is None


def test_a_keyring_reference_is_read_from_the_keyring() -> None:
    asked: list[tuple[str, str]] = []

    def keyring(service: str, user: str) -> str | None:
        asked.append((service, user))
        return "from the keyring" if service == "paios" else None

    table = profiles({"a": key(secret="keyring:elsewhere"), "b": key(secret="keyring:paios")})
    found = table.key_for("openai", NOW, keyring)
    assert (found.secret, found.profile) == ("from the keyring", "b")
    assert found.skipped == ("a: the keyring has nothing for service 'elsewhere', user 'a'",)
    assert asked == [("elsewhere", "a"), ("paios", "b")]


def test_a_keyring_that_cannot_be_used_is_a_reason_not_a_crash() -> None:
    def closed(service: str, user: str) -> str | None:
        raise PaiosError("the keyring cannot be opened: locked")

    found = profiles({"a": key(secret="keyring:paios"), "b": key()}).key_for("openai", NOW, closed)
    assert found.profile == "b"
    assert found.skipped == ("a: the keyring cannot be opened: locked",)


def test_openclaw_s_names_are_understood() -> None:
    oauth = {"type": "oauth", "provider": "x", "access": "ax", "refresh": "rx", "expires": AFTER, "clientId": "c", "email": "e"}
    tok = {"type": "token", "provider": "y", "token": "ty", "expiresAt": AFTER}
    table = profiles({"a": oauth, "b": tok}, lastGood={"x": "a"}, usageStats={"a": {"lastUsed": 1}})
    assert table.key_for("x", NOW).secret == "ax"
    assert table.key_for("y", NOW).secret == "ty"
    assert table.last_good == {"x": "a"}
    assert table.profiles["a"].expires_at_ms == AFTER


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"version": 2}, "version must be one of 1"),
        ({"profiles": {}}, "version is missing"),
        ({"version": 1, "profile": {}}, "profile is not known here; did you mean profiles?"),
        ({"version": 1, "profiles": {"a": key(provider="")}}, "profiles.a.provider must be a text that is not empty"),
        ({"version": 1, "profiles": {"a": {"type": "apikey", "provider": "x"}}}, "(did you mean api_key?)"),
        ({"version": 1, "profiles": {"a": {**key(), "acess": SECRET}}}, "profiles.a.acess is not known here; did you mean"),
        ({"version": 1, "profiles": {"a": {**key(), "type": "oauth"}}}, "profiles.a is of type oauth and must have access"),
        ({"version": 1, "profiles": {"a": {"type": "api_key", "provider": "x"}}}, "must have key"),
        ({"version": 1, "profiles": {"a": token(expires_at_ms=0)}}, "profiles.a.expires_at_ms must be greater than 0"),
        ({"version": 1, "profiles": {"a": token(expires_at_ms=5, expires=5)}}, "expires_at_ms is there twice, once as expires"),
        ({"version": 1, "profiles": {"a": [SECRET]}}, "profiles.a must be a table"),
        ({"version": 1, "profiles": {"open": key()}, "order": {"openai": ["opn"]}}, "order.openai[0] names the profile opn"),
        ({"version": 1, "profiles": {"a": key()}, "last_good": {"x": "a"}}, "names the profile a, which is one of openai"),
        ([], "must be a table"),
    ],
)
def test_a_wrong_file_is_explained_without_quoting_it(data: object, says: str) -> None:
    message = complaint(json.dumps(data))
    assert says in message
    assert SECRET not in message


def test_broken_json_names_line_and_column_and_no_content() -> None:
    message = complaint('{"version": 1,\n "key": "' + SECRET + "\n")
    assert "is not JSON: " in message
    assert "line 2" in message
    assert SECRET not in message


def test_a_key_given_twice_is_an_error() -> None:
    assert "'profiles' is there twice" in complaint('{"version": 1, "profiles": {}, "profiles": {}}')


def test_a_file_open_to_others_is_closed_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "auth-profiles.json"
    path.write_text('{"version": 1}')
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        load_profiles(tmp_path)
        assert "was open to other users (mode 644); it is 600 now" in caplog.text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        caplog.clear()
        load_profiles(tmp_path)
        assert not caplog.messages


def test_a_secret_is_in_no_repr_and_masked_when_shown() -> None:
    oauth = {"type": "oauth", "provider": "openai", "access": SECRET, "refresh": SECRET[::-1], "expires_at_ms": AFTER}
    table = profiles({"a": oauth, "b": key(secret="short"), "c": key(secret="keyring:paios")})
    assert SECRET not in repr(table) + repr(table.key_for("openai", NOW))
    assert SECRET[::-1] not in repr(table)
    assert table.redacted() == {
        "a": {
            "type": "oauth",
            "provider": "openai",
            "secret": "sk-…ngth",
            "refresh": "htg…t-ks",
            "expires": "2026-11-22 00:00 UTC",
        },
        "b": {"type": "api_key", "provider": "openai", "secret": "(set)"},
        "c": {"type": "api_key", "provider": "openai", "secret": "keyring:paios"},
    }


@given(st.text(min_size=1).filter(lambda s: not s.startswith("keyring:") and s not in "(set)"))
def test_a_mask_shows_seven_characters_of_a_long_secret_and_none_of_a_short_one(secret: str) -> None:
    shown = masked(secret)
    assert shown == "(set)" if len(secret) < 20 else len(shown) == 8
    assert secret not in shown
