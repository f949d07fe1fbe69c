"""Everything that is wrong with providers.toml is said at once, with what to do, and without showing a secret."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from gateway.configuration import Problem, check, load_configuration
from gateway.configuration.problems import did_you_mean
from store.errors import SettingsError
from store.settings import Settings

OPENAI = "[providers.openai]\n"
X = OPENAI + "[models.'openai/x']\n"
ALIASES = OPENAI + "[aliases]\n"
E = OPENAI + "[ensembles.e]\n"
PLANTED = "sk-planted-Zx81KqWmT0"


def problems(settings: Settings, text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    environ = {"OPENAI_API_KEY": "k"} if environ is None else environ
    content = textwrap.dedent(text).encode()
    return check(content, settings, source=Path("providers.toml"), environ=environ)[1]


def test_every_error_is_told_and_not_only_the_first(settings: Settings) -> None:
    path = settings.root / "providers.toml"
    path.write_text(
        textwrap.dedent(
            """
            [gatewy]
            [gateway]
            attempts = 0
            [providers.openai]
            timout_s = 3
            [providers.anthropc]
            base_url = "http://169.254.169.254/v1"
            [providers.mine]
            kind = "openai"
            base_url = "http://10.0.0.7/v1"
            [models."openai/gpt-5"]
            capabilities = ["tols"]
            context = 0
            [models.gpt-5]
            [aliases]
            auto = "openai/gpt-5"
            [ensembles.three]
            rule = "majorty"
            size = 1
            """
        )
    )
    with pytest.raises(SettingsError) as raised:
        load_configuration(settings, environ={})
    message = str(raised.value)
    assert f"{path} has 12 errors" in message
    for told in (
        "gatewy: there is no such section. Did you mean gateway?",
        "[gateway] attempts: 0: input should be greater than or equal to 1.",
        "[providers.openai] timout_s: there is no such key. Did you mean timeout_s?",
        "[providers.anthropc] kind: is missing. Did you mean anthropic?",
        "[providers.mine] base_url: The provider at '10.0.0.7' would be sent its key",
        """[models."openai/gpt-5"] capabilities: 'tols' is no capability. Did you mean tools?""",
        '[models."gpt-5"] is not the id of a model.',
        "[aliases] auto: 'auto' means something already.",
        "[ensembles.three] rule: 'majorty': input should be 'majority', 'weighted'",
        "[ensembles.three] size: 1: input should be greater than or equal to 2.",
    ):
        assert told in message, told
    assert raised.value.remedy.startswith("docs/gateway-providers.md")


@pytest.mark.parametrize(
    ("text", "section", "key", "told"),
    [
        (OPENAI + "kind = 'opnai'", "providers.openai", "kind", "Did you mean openai?"),
        ("[providers.Open_AI]\nkind = 'openai'", "providers.Open_AI", "", "lower-case"),
        ("[providers.ensemble]\nkind = 'openai'", "providers.ensemble", "", "cannot name a provider"),
        ("providers = 3", "providers", "", "is not a section"),
        ("[providers]\nopenai = 3", "providers.openai", "", "is not a section"),
        (OPENAI + "concurrency = '3'", "providers.openai", "concurrency", "valid integer"),
        (OPENAI + "timeout_s = nan", "providers.openai", "timeout_s", "finite"),
        (OPENAI + "timeout_s = 0", "providers.openai", "timeout_s", "greater than 0"),
        (OPENAI + "on_disconnect = 'stop'", "providers.openai", "on_disconnect", "'cancel' or 'drain'"),
        ("[providers.vllm]", "providers.vllm", "models", "List what the provider offers"),
        (OPENAI + "models = ['gpt-4o-minni']", 'models."openai/gpt-4o-minni"', "price", "Did you mean gpt-4o-mini?"),
        (OPENAI + "[models.'opnai/x']", 'models."opnai/x"', "", "Did you mean openai?"),
        (X + "price = { input = 1 }", 'models."openai/x"', "price.output", "is missing"),
        (X + "price = { output = 1 }", 'models."openai/x"', "price.input", "is missing"),
        (
            X + "price = { input = -1, output = 1 }",
            'models."openai/x"',
            "price.input",
            "greater than or equal to 0",
        ),
        (
            X + "price = { input = 1, output = 1, chached = 1 }",
            'models."openai/x"',
            "price.chached",
            "Did you mean cached?",
        ),
        (
            X + "price = { input = 1, output = 1, tiers = [{ above = 5, abvoe = 1 }] }",
            'models."openai/x"',
            "price.tiers.0.abvoe",
            "Did you mean above?",
        ),
        (
            OPENAI + "[models.'openai/gpt-5']\nquality = { coding = 0.5 }",
            'models."openai/gpt-5"',
            "quality",
            "'coding' is no kind of task.",
        ),
        (
            OPENAI + "[models.'openai/gpt-5']\nquality = { code = 1.5 }",
            'models."openai/gpt-5"',
            "quality.code",
            "less than or equal to 1",
        ),
        (ALIASES + "a = 3", "aliases", "a", "is not a name"),
        (ALIASES + "a = 'openai/gpt-55'", "aliases", "a", "Did you mean openai/gpt-5.5?"),
        (ALIASES + "'openai/gpt-5' = 'auto'", "aliases", "openai/gpt-5", "means something already"),
        (ALIASES + "'ensemble/x' = 'auto'", "aliases", "ensemble/x", "means something already"),
        (
            OPENAI + "[models.'openai/gpt-5']\naliases = ['x']\n[models.'openai/gpt-4o']\naliases = ['x']",
            'models."openai/gpt-4o"',
            "aliases",
            "is an alias of openai/gpt-5 already",
        ),
        (
            E + "rule = 'majority'\nmembers = ['openai/gpt-55', 'openai/gpt-5']",
            "ensembles.e",
            "members",
            "Did you mean openai/gpt-5.5?",
        ),
        (
            E + "rule = 'majority'\nmembers = ['openai/gpt-5', 'openai/text-embedding-3-small']",
            "ensembles.e",
            "members",
            "makes embeddings",
        ),
        (
            E + "rule = 'weighted'\nmembers = ['openai/gpt-5', 'openai/o3']\nweights = {'openai/gpt-4o' = 1}",
            "ensembles.e",
            "weights",
            "is no member",
        ),
        (
            E + "rule = 'weighted'\nmembers = ['openai/gpt-5', 'openai/gpt-5']\nweights = {'openai/gpt-5' = 0}",
            "ensembles.e",
            "weights",
            "all are 0",
        ),
        (E + "rule = 'majority'\nmembers = ['openai/gpt-5']", "ensembles.e", "members", "is no ensemble"),
        ("[ensembles.majority]\nrule = 'majority'", "ensembles.majority", "", "means something already"),
        ("[ensembles.e]\nrule = 'majority'\n[aliases]\ne = 'auto'", "aliases", "e", "means something already"),
        (ALIASES + "a = 'auto:cod'", "aliases", "a", "there is no 'auto:cod'"),
        (OPENAI + "headers = { Host = '{env:X}' }", "providers.openai", "headers.Host", "by the gateway itself"),
    ],
)  # fmt: skip
def test_an_error_names_its_place_and_what_to_do(
    settings: Settings, text: str, section: str, key: str, told: str
) -> None:
    found = problems(settings, text)
    assert [(one.section, one.key) for one in found] == [(section, key)]
    assert told in str(found[0])
    assert found[0].remedy.endswith((".", "?"))


@pytest.mark.parametrize(
    "text",
    [
        f'[providers.openai]\nkey = "{PLANTED}"',
        f'[providers.openai]\napi_key = "{PLANTED}"',
        f'[providers.openai]\nkey_env = "{PLANTED}"',
        f'[providers.openai]\nkey_evn = "{PLANTED}"',
        f'[providers.openai]\nkey_env = ["{PLANTED}"]',
        f'[providers.openai]\nheaders = {{ Authorization = "Bearer {PLANTED}" }}',
        f'[providers.openai]\nheaders = {{ "X Y" = "{PLANTED}" }}',
        f'[providers.openai]\nheaders = "{PLANTED}"',
        f'[providers.openai]\nheaders = {{ X = {{ value = "{PLANTED}" }} }}',
        f'[providers.openai]\nbase_url = "https://user:{PLANTED}@api.openai.com/v1"',
        f'[providers.openai]\nbase_url = "https://api.openai.com/v1?key={PLANTED}"',
        f'[providers.openai]\nbase_url = ["{PLANTED}"]',
        f'[gateway]\nsecret = "{PLANTED}"',
        f'api_key = "{PLANTED}"\n',
        f'[secrets]\nopenai = "{PLANTED}"',
    ],
)
def test_a_key_in_the_file_is_refused_without_being_shown(settings: Settings, text: str) -> None:
    path = settings.root / "providers.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_configuration(settings, environ={})
    assert PLANTED not in str(raised.value)
    assert PLANTED not in repr(raised.value)


def test_a_key_in_the_environment_shows_in_no_error(settings: Settings) -> None:
    found = problems(settings, "[providers.openai]\nkind = 3\n[models.'openai/x']", {"OPENAI_API_KEY": PLANTED})
    assert found
    assert PLANTED not in repr(found)


def test_a_key_that_is_no_key_is_not_sent(settings: Settings) -> None:
    for value in ("k\r\nX-Evil: 1", "ключ", " ", "a\x00b"):
        content = b"[providers.openai]"
        made, found = check(content, settings, source=Path("p"), environ={"OPENAI_API_KEY": value})
        assert found == []
        assert made.providers == {}
        assert value.strip() not in " ".join(made.notes) or not value.strip()


def test_settings_of_the_platform_are_sent_to_nobody(settings: Settings) -> None:
    for line in ('key_env = "MERIT_DATA_KEY"', 'headers = { X = "{env:MERIT_DATA_KEY}" }'):
        found = problems(settings, f"[providers.openai]\n{line}", {"MERIT_DATA_KEY": PLANTED})
        assert "names a setting of this platform" in found[0].message


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.7/v1",
        "https://10.0.0.7/v1",
        "https://127.0.0.1/v1",
        "https://[::1]/v1",
        "https://localhost/v1",
        "https://2130706433/v1",
        "http://169.254.169.254/latest",
        "ftp://example.org/v1",
        "example.org",
    ],
)
def test_private_addresses_are_refused_unless_local(settings: Settings, address: str) -> None:
    found = problems(settings, f'[providers.mine]\nkind = "openai"\nbase_url = "{address}"\nmodels = []')
    assert [(one.section, one.key) for one in found] == [("providers.mine", "base_url")]


def test_a_private_address_that_is_said_to_be_local_is_taken(settings: Settings) -> None:
    text = '[providers.mine]\nkind = "openai"\nlocal = {}\nbase_url = "{}"\nmodels = ["m"]'
    assert problems(settings, text.format("true", "http://10.0.0.7:8001/v1")) == []
    # What hands out credentials is never a provider.
    assert problems(settings, text.format("true", "http://169.254.169.254/v1"))


def test_the_simulated_provider_may_be_on_this_machine_only(settings: Settings) -> None:
    text = '[providers.simulated]\nbase_url = "{}"\n[models."simulated/a"]\nprice = {{ input = 1, output = 1 }}'
    assert problems(settings, text.format("http://127.0.0.1:9000/v1")) == []
    assert problems(settings, text.format("http://10.0.0.7:9000/v1"))


def test_the_gateway_does_not_call_itself(settings: Settings) -> None:
    text = f'[providers.vllm]\nbase_url = "http://127.0.0.1:{settings.port}/v1"\nmodels = ["m"]'
    (found,) = problems(settings, text)
    assert "the gateway would call itself" in found.message


def test_what_depends_on_a_wrong_section_is_not_an_error_of_its_own(settings: Settings) -> None:
    found = problems(
        settings,
        """
        [providers.openai]
        timout_s = 3
        [models."openai/gpt-5"]
        latency_ms = 5
        [aliases]
        good = "openai/gpt-5"
        [ensembles.e]
        rule = "majority"
        members = ["openai/gpt-5", "openai/gpt-4o"]
        """,
    )
    assert [(one.section, one.key) for one in found] == [("providers.openai", "timout_s")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[providers.openai", "It is not TOML"),
        (b"[a]\n[a]", "It is not TOML"),
        (b"\xff\xfe", "It is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_toml(settings: Settings, content: bytes, told: str) -> None:
    (settings.root / "providers.toml").write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        load_configuration(settings)


def test_a_byte_order_mark_is_no_error(settings: Settings) -> None:
    (settings.root / "providers.toml").write_bytes(b"\xef\xbb\xbf[providers.openai]\r\n")
    assert load_configuration(settings, environ={"OPENAI_API_KEY": "k"}).providers


def test_a_file_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read") as raised:
        load_configuration(Settings(home=settings.home, providers_file=tmp_path / "none.toml"))
    assert raised.value.field == "MERIT_PROVIDERS_FILE"


def test_near_names_are_suggested_and_others_are_listed() -> None:
    assert did_you_mean("timout_s", ["timeout_s", "stall_s"]) == "Did you mean timeout_s?"
    assert did_you_mean("zzz", ["timeout_s", "stall_s"]) == "Use one of: stall_s, timeout_s."
    assert did_you_mean("zzz", []) == "There is none."


_value = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(["kind", "base_url", "models", "price", "quality", "members", "headers", "x"])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(one):08x}" for one in value if not 0xD800 <= ord(one) < 0xE000) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    return repr(value)


@given(
    tables=st.dictionaries(
        st.sampled_from(
            ["gateway", "providers", "providers.openai", "models", "models.'openai/x'", "aliases", "ensembles.e"]
        ),
        st.dictionaries(_keys, _value, max_size=3),
        max_size=4,
    )
)
@example_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_is_written_there_is_a_configuration_or_a_list_of_errors(
    settings: Settings, tables: dict[str, Any]
) -> None:
    lines = []
    for name, entries in sorted(tables.items(), key=lambda item: -item[0].count(".")):
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in entries.items())]
    made, found = check("\n".join(lines).encode(), settings, source=Path("p"), environ={"OPENAI_API_KEY": "k"})
    assert found or made.providers.keys() <= {"openai"}
    assert all(str(one) for one in found)
