"""The policy set: what an auditor signs is what decides, and a wrong set is not taken."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

import meterkeep
from store.access.deciding import decide
from store.errors import StoreError
from store.grants import Grant, Question, Refused
from store.grounds import FOREVER, Consent, Grounds, Party, Tenancy
from store.initialising import initialise
from store.policy import limit_rules, policy_check, retention_rules
from store.policy.cedar import REFUSED, Asked
from store.policy.matrix import generate, pairs
from store.policy.offices import may
from store.policy.policy_check import Example, examples, findings
from store.policy.policy_set import WHOLE, Policy, load, parse, read
from store.reads import HALF_HOUR, Register, Window
from store.settings import Settings
from store.wiring import open_store
from tests.world import KNOWN

HERE = Path(str(resources.files("policies")))
POLICY = load()
TEXTS = read()
NOW = 1_000 * float(HALF_HOUR)
LIVES = Tenancy(Window(0, FOREVER), b"h" * 16, b"t")
YES = Consent(
    "c_1", 0, Window(0, FOREVER), "PT30M", frozenset(), None, None, "granted", b"c"
)  # fmt: skip
ADVISER = Party("p_a", "adviser", frozenset({"OU"}))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the set that somebody may change."""
    shutil.copytree(HERE, tmp_path / "set", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path / "set"


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def question(**how: Any) -> Question:
    told = {"registers": (Register.ACTIVE_IMPORT,)} | how
    return Question(ADVISER, "4.8.1", KNOWN, Window(100, 900), **told)


def said(policy: Policy, consents: list[Consent]) -> Grant | str:
    try:
        return decide(question(), Grounds([LIVES], [], consents, []), policy, NOW)
    except Refused as refused:
        return refused.code


def without(*names: str) -> Policy:
    """Return the set without the policies of these names, wherever they stand."""
    texts = dict(TEXTS)
    for file, text in TEXTS.items():
        if file.endswith(".cedar") and file != "roles.cedar":
            head, *policies = text.split('@id("')
            kept = [one for one in policies if one.partition('"')[0] not in names]
            texts[file] = '@id("'.join([head, *kept])
    return parse(texts)


# ---- the set that is installed ---------------------------------------------------------------


@pytest.mark.parametrize("example", list(examples()), ids=lambda one: f"{one.says} ({one.place})")
def test_an_example_is_decided_as_it_says(example: Example) -> None:
    [verdict] = POLICY.rules.ask([example.asked])
    assert (verdict.allowed, verdict.reasons) == (example.allowed, example.reasons)


def test_nothing_is_wrong_with_the_set_and_every_policy_has_an_example() -> None:
    assert findings() == []


def test_the_role_policies_are_those_that_the_matrix_makes() -> None:
    assert generate(TEXTS["roles.csv"], TEXTS["services.toml"]) == TEXTS["roles.cedar"]
    assert POLICY.matrix == pairs(TEXTS["roles.csv"])


def test_a_set_is_named_as_an_auditor_can_name_it_without_us() -> None:
    files = [HERE / name for name in sorted(TEXTS)]
    sums = subprocess.run(
        ["sha256sum", *(file.name for file in files)], cwd=HERE, capture_output=True, check=True
    )
    whole = subprocess.run(["sha256sum"], input=sums.stdout, capture_output=True, check=True)
    assert whole.stdout.split()[0].decode() == POLICY.digest.hex()


# ---- what cannot be judged is refused --------------------------------------------------------


@pytest.mark.parametrize(
    "context",
    ["", "{", "null", "[]", "{}", '{"state": "granted"}', '{"covers": true, "covers": false}'],
)
def test_a_record_that_lacks_something_is_refused(context: str) -> None:
    assert POLICY.rules.ask([Asked("OU", "read on consent", context)]) == [REFUSED]


def test_a_record_that_says_too_much_or_the_wrong_kind_is_refused() -> None:
    good = next(e for e in examples() if e.allowed and e.asked.action == "read on consent")
    whole = orjson.loads(good.asked.context)
    for bad in (
        whole | {"god": True},
        whole | {"covers": "true"},
        whole | {"covers": 1},
        whole | {"expires_in": 1e300},
        whole | {"expires_in": 1 << 63},
        whole | {"state": None},
        {key: value for key, value in whole.items() if key != "erased"},
    ):
        asked = replace(good.asked, context=orjson.dumps(bad).decode())
        assert POLICY.rules.ask([asked]) == [REFUSED]


@pytest.mark.parametrize("role", ["", "king", "ou", 'OU"', 'OU" || true', "OU\n", "\0", "é"])
def test_a_role_that_nobody_knows_is_refused(role: str) -> None:
    for one in examples():
        if one.allowed:
            [verdict] = POLICY.rules.ask([replace(one.asked, role=role)])
            assert not verdict.allowed


@pytest.mark.parametrize("action", ["", "read", "ask", "state", "9.9", 'x"', "4.8.1 "])
def test_an_action_that_nobody_knows_is_refused(action: str) -> None:
    assert not any(v.allowed for v in POLICY.rules.ask([Asked("OU", action)]))


def test_one_request_that_cannot_be_judged_opens_nothing_beside_it() -> None:
    good = next(one.asked for one in examples() if one.allowed)
    verdicts = POLICY.rules.ask([good, replace(good, context="{}"), good])
    assert [v.allowed for v in verdicts] == [True, False, True]


def test_without_any_forbid_nothing_more_is_allowed() -> None:
    """Cedar skips a forbid that errors: so no permit may lean on one."""
    forbids = [name for name, effect in POLICY.rules.effects.items() if effect == "forbid"]
    bare = without(*forbids)
    for one in examples():
        [verdict] = bare.rules.ask([one.asked])
        assert verdict.allowed is one.allowed, one.says


def test_without_its_permit_nothing_is_allowed() -> None:
    assert said(without("consent.covers"), [YES]) == "consent_missing"
    assert isinstance(said(POLICY, [YES]), Grant)


def test_a_forbid_that_cannot_err_is_all_that_a_set_may_hold() -> None:
    """An attribute that may be missing, or a sum that may overflow, is found before it is asked."""
    loose = '@id("erased.x") @says("x") forbid (principal, action, resource) when {{ {} }};'
    for condition in ("context.nothing", 'principal.name == "x"', "context.covers + 1 == 2"):
        with pytest.raises(StoreError):
            parse(TEXTS | {"loose.cedar": loose.format(condition)})


def test_a_policy_that_errs_when_it_is_asked_makes_a_refusal() -> None:
    """Overflow passes validation: the forbid would be skipped, and the Allow is not clean."""
    texts = TEXTS | {
        "sum.cedar": '@id("erased.sum") @says("x") forbid (principal, '
        'action == Action::"read on consent", resource) '
        "when { context.expires_in * 9223372036854775807 == 1 };"
    }
    assert said(parse(texts), [replace(YES, expires=NOW + 5 * 86_400)]) == "consent_missing"


# ---- what a Grant and a refusal name ---------------------------------------------------------


def test_a_grant_names_the_policies_that_permit_it() -> None:
    grant = said(POLICY, [YES])
    assert isinstance(grant, Grant)
    assert grant.reasons == ("role.OU.4.8.1", "consent.covers")
    assert grant.policy == POLICY.digest


def test_a_refusal_names_the_policies_that_forbid_it() -> None:
    with pytest.raises(Refused) as refused:
        decide(question(), Grounds([LIVES], [], [replace(YES, state="withdrawn")], []), POLICY, NOW)
    assert refused.value.reasons == ("consent_withdrawn",)


@pytest.mark.parametrize("when", [float("nan"), float("-inf"), -1e300, NOW, NOW - 1e-9])
def test_a_time_that_is_no_time_has_passed(when: float) -> None:
    assert said(POLICY, [replace(YES, expires=when)]) == "consent_expired"
    assert said(POLICY, [replace(YES, reminder_due=when)]) == "reminder_lapsed"


@pytest.mark.parametrize("when", [float("inf"), 1e300, NOW + 1e-6])
def test_a_time_that_lies_ahead_has_not_passed(when: float) -> None:
    assert isinstance(said(POLICY, [replace(YES, expires=when, reminder_due=when)]), Grant)


def test_many_consents_are_asked_of_once_each() -> None:
    asked: list[int] = []

    class Counted:
        def ask(self, some: list[Asked]) -> Any:
            asked.append(len(some))
            return POLICY.rules.ask(some)

    counted: Any = replace(POLICY, rules=Counted())  # type: ignore[arg-type]
    same = [replace(YES, id=f"c_{at}", window=Window(at * 9, FOREVER)) for at in range(90)]
    assert isinstance(said(counted, same), Grant)
    assert asked == [1]


def test_a_house_may_add_a_forbid_of_its_own_and_it_is_told() -> None:
    texts = TEXTS | {
        "house.cedar": '@id("consent_missing.house") @says("No half-hours.") '
        'forbid (principal, action == Action::"read on consent", resource) '
        'when { context.granularity == "PT30M" };'
    }
    house = parse(texts)
    assert said(house, [YES]) == "consent_missing"
    assert house.digest != POLICY.digest


# ---- who may state what ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "action", "own", "allowed"),
    [
        ({"OU"}, "consent request", True, True),
        ({"OU"}, "consent grant", True, False),
        ({"OU"}, "consent remind", True, False),
        ({"OU"}, "consent withdraw", True, True),
        ({"OU"}, "consent withdraw", False, False),
        ({"OU"}, "registration add", True, False),
        ({"IS", "OU"}, "registration add", True, False),
        ({"OU", "IS"}, "consent grant", True, False),
        ({"OU", "auditor"}, "consent grant", True, False),
        ({"OU", "consent-manager"}, "consent grant", True, True),
        ({"consent-manager"}, "consent grant", False, True),
        ({"operator"}, "erase", False, True),
        ({"operator"}, "log read", False, False),
        ({"auditor"}, "log read", False, True),
        ({"auditor"}, "erase", False, False),
        ({"RSA", "MDR"}, "consent request", True, False),
        (set(), "consent request", True, False),
        ({"operator"}, "unsay", False, False),
    ],
)
def test_who_may_state_what(roles: set[str], action: str, own: bool, allowed: bool) -> None:
    if allowed:
        assert may(POLICY, roles, action, {"own": own})
        return
    with pytest.raises(Refused) as refused:
        may(POLICY, roles, action, {"own": own})
    assert refused.value.code == "role_not_permitted"


def test_who_asks_cannot_say_that_it_may_attest() -> None:
    with pytest.raises(Refused):
        may(POLICY, {"OU"}, "consent grant", {"own": True, "attested": True})
    attesting = replace(POLICY, attested=True)
    assert may(attesting, {"OU"}, "consent grant", {"own": True}) == ("state.attested",)


# ---- a set that is wrong is not taken --------------------------------------------------------

WRONGS: list[tuple[str, Callable[[Path], None]]] = [
    ("a mark", lambda f: change(f / "roles.csv", "4.6.1,Y", "4.6.1,y")),
    ("a cell without its policy", lambda f: change(f / "roles.csv", "4.6.1,Y,-", "4.6.1,Y,Y")),
    ("a policy without its cell", lambda f: change(f / "roles.cedar", '"4.10"', '"4.17"')),
    ("a role policy by the back door", lambda f: (f / "door.cedar").write_text(
        '@id("x") @says("x") permit (principal == Role::"OU", action in Action::"ask", resource);'
    ) and None),
    ("no roles", lambda f: (f / "roles.cedar").unlink()),
    ("no schema", lambda f: (f / "schema.cedarschema").unlink()),
    ("a word", lambda f: change(f / "consent.cedar", "context.state", "context.estate")),
    ("a bracket", lambda f: change(f / "consent.cedar", "};", "}")),
    ("no name", lambda f: change(f / "consent.cedar", '@id("consent_expired")\n', "")),
    ("no sentence", lambda f: change(f / "auditor.cedar", '@says("An auditor reads the', '@x("')),
    ("one name twice", lambda f: change(f / "consent.cedar", "consent_expired", "reminder_lapsed")),
    ("no code", lambda f: change(f / "consent.cedar", '"consent_expired"', '"too_late"')),
    ("a template", lambda f: change(f / "auditor.cedar", '== Role::"auditor"', "== ?principal")),
    ("a basis", lambda f: change(f / "bases.toml", 'P1M = "registration"', 'P1M = "because"')),
    ("days", lambda f: change(f / "bases.toml", "notice_days = 7", "notice_days = nan")),
    ("a kind", lambda f: change(f / "bases.toml", "office = [", "throne = [")),
    ("no commands", lambda f: change(f / "services.toml", "[commands]", "[command]")),
    ("commands that are none", lambda f: change(f / "services.toml", "[commands]", "[[commands]]")),
    ("a variant that is a command", lambda f: change(
        f / "services.toml", "[commands]", '[commands]\n"4.10" = "x"'
    )),
    ("retention", lambda f: change(f / "retention.toml", "= 90", "= 'long'")),
    ("not text", lambda f: (f / "consent.cedar").write_bytes(b"\xff") and None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), WRONGS, ids=[name for name, _ in WRONGS])
def test_a_set_with_a_fault_is_not_taken(
    copied: Path, name: str, harm: Callable[[Path], None]
) -> None:
    assert load(copied).digest == POLICY.digest
    harm(copied)
    with pytest.raises(StoreError) as refused:
        load(copied)
    assert refused.value.code == "policy"


def test_an_empty_folder_and_none_at_all_are_no_set(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StoreError):
            load(folder)


def test_a_store_opens_with_the_set_that_is_named_and_not_with_a_wrong_one(
    copied: Path, tmp_path: Path
) -> None:
    environment = {
        "METERKEEP_HOME": str(tmp_path / "store"),
        "METERKEEP_POLICIES": str(copied),
    }
    settings = Settings.from_environment(environment)
    initialise(settings)
    change(copied / "bases.toml", "notice_days = 7", "notice_days = 8")
    with open_store(settings) as store:
        assert store.policy.notice == 8 * 86_400
        assert store.policy.digest != POLICY.digest
    change(copied / "consent.cedar", "};", "}")
    with pytest.raises(StoreError), open_store(settings):
        pass
    with open_store(settings, decides=False) as store:  # what decides nothing goes on
        for part in ("policy", "facts", "bulk", "moving", "resealing"):
            with pytest.raises(StoreError) as refused:
                getattr(store, part)
            assert refused.value.code == "policy"


# ---- meterkeep policy check ------------------------------------------------------------------


def check(folder: Path) -> tuple[int, str]:
    done = CliRunner().invoke(meterkeep.build(), ["policy", "check", str(folder)])
    return (2 if isinstance(done.exception, StoreError) else done.exit_code), done.output


def test_check_tells_a_good_set_from_a_faulty_one_and_from_none(copied: Path) -> None:
    assert check(copied) == (0, f"policy set {POLICY.digest.hex()}\n")
    change(copied / "examples/consent.toml", 'refused = ["consent_expired"]', "refused = []")
    status, told = check(copied)
    assert status == 1
    assert "examples/consent.toml, example 11: refused by consent_expired" in told
    change(copied / "roles.csv", "4.6.1,Y,-", "4.6.1,Y,Y")
    status, told = check(copied)
    assert status == 1
    assert "meterkeep policy generate" in told
    assert check(copied / "nowhere")[0] == 2


def test_check_finds_a_purpose_that_is_no_word(copied: Path) -> None:
    change(copied / "consents.toml", 'purposes = ["', 'purposes = [1, "')
    assert check(copied)[0] == 1


LONGER: list[tuple[str, str, str]] = [
    ("a word", "log = 2555", 'log = "long"'),
    ("nothing", "refused_lines = 90", "refused_lines = 0"),
    ("a part of a day", "kek = 730", "kek = 730.0"),
    ("more than a century", "backups = ", "backups = 10000"),
    ("no bound at all", "bucket = 730", ""),
    ("a name that is none", "[registers]", "[registers]\nexport = 3"),
    ("a table that is none", "[registers]", "[register]"),
    ("no table", "[erased]", "[[erased]]"),
    ("no TOML", "[days]", "[days"),
]


@pytest.mark.parametrize(("name", "old", "new"), LONGER, ids=[name for name, *_ in LONGER])
def test_check_tells_a_wrong_bound_as_the_one_who_deletes_by_it_does(
    copied: Path, name: str, old: str, new: str
) -> None:
    change(copied / "retention.toml", old, new)
    with pytest.raises(StoreError, match=r"^retention\.toml ") as refused:
        retention_rules.load(copied)
    assert refused.value.code == "policy"
    assert check(copied)[0] == 1
    assert check(copied)[1].splitlines()[0] == str(refused.value)


def test_a_wrong_bound_is_told_by_its_name_and_its_table(copied: Path) -> None:
    change(copied / "retention.toml", "kek = 730", "kek = -730")
    [told] = findings(copied)
    assert told == ("retention.toml says no whole number of days, 1 to 36,600, of kek in [keys]")


NUMBERS = [
    (name, found.span(1))
    for name in WHOLE
    if name.endswith(".toml")
    for found in re.finditer(r"^[\w\".-]+ = ([\d_.]+)", TEXTS[name], re.MULTILINE)
]


def test_no_number_of_any_file_may_fall_below_nothing_unseen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(NUMBERS) > 40
    for name, (start, end) in NUMBERS:
        text = TEXTS[name]
        harmed = {**TEXTS, name: f"{text[:start]}-1{text[end:]}"}
        monkeypatch.setattr(policy_check, "read", lambda _, texts=harmed: texts)
        assert findings(), (name, text[:end].splitlines()[-1])


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("bases.toml", "notice_days = 7", "notice_days = 7\nnotice_day = 9",
         "bases.toml: notice_day"),
        ("bases.toml", "[supplier.domestic]", "[supplier.domestic]\nPT15M = 'never'",
         "bases.toml: supplier.domestic.PT15M"),
        ("services.toml", "registers = []", "registers = []\nregister = 9",
         "services.toml: 4.6.1: register"),
    ],
)  # fmt: skip
def test_a_word_that_nobody_reads_is_no_rule_that_holds(
    copied: Path, file: str, old: str, new: str, told: str
) -> None:
    change(copied / file, old, new)
    assert findings(copied) == [f"{told} is no word of this policy set"]


def test_check_finds_a_policy_that_no_example_tries(copied: Path) -> None:
    (copied / "more.cedar").write_text(
        '@id("more") @says("x") permit (principal == Role::"RSA", '
        'action == Action::"log read", resource);',
        "utf-8",
    )
    assert check(copied)[0] == 1
    assert "no example is decided by @id more" in check(copied)[1]


def test_generate_writes_what_the_matrix_says(copied: Path) -> None:
    change(copied / "roles.csv", "4.6.1,Y,-", "4.6.1,Y,Y")
    done = CliRunner().invoke(meterkeep.build(), ["policy", "generate", str(copied)])
    assert done.exit_code == 0
    assert ("ES", "4.6.1") in load(copied).matrix


@pytest.mark.parametrize("name", WHOLE)
def test_a_set_that_lacks_a_file_is_told_which(copied: Path, name: str) -> None:
    (copied / name).unlink()
    for asked in (load, limit_rules.load, findings):
        with pytest.raises(StoreError, match=f"lacks {name}: begin with"):
            asked(copied)
