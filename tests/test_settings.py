"""Settings: the file under the command line, every word checked, the nearest right one named."""

from pathlib import Path

import pytest

from dldoctor import BadInput
from dldoctor.settings import Overrides, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_without_settings_has_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert settings.fail_on == "error"
    assert settings.parts == {}


def test_settings_of_checks_come_from_file_and_command_line(tmp_path: Path) -> None:
    write(tmp_path, "[tool.dldoctor.ENV012]\ngib = 4.0\n[tool.dldoctor.low-gpu-memory]\nshare = 0.1\n")
    settings = load_settings(tmp_path, Overrides(set=["ENV012.gib=0.5"]))
    assert settings.checks == {"ENV012": {"gib": 0.5}, "ENV003": {"share": 0.1}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.dldoctor]\nselct = ["ENV"]', "no key 'selct'; did you mean 'select'"),
        ('[tool.dldoctor]\nselect = ["ENV99"]', "no check, family or name 'ENV99'; did you mean"),
        ("[tool.dldoctor]\nfail-on = 'sometimes'", "'sometimes' is none of error, warning, info, never"),
        ("[tool.dldoctor.ENV012]\ngb = 4", "ENV012 has no setting 'gb'; did you mean 'gib'"),
        ("[tool.dldoctor.ENV012]\ngib = 'much'", "ENV012.gib takes float, not 'much'"),
        ("[tool.dldoctor.ENV001]\ngib = 1", "ENV001 has no setting 'gib'; it has no settings"),
        ("[tool.dldoctor]\nplugins = ['./ours.py']", "no such plugin file"),
        ("tool = 3\n[x", "is no valid TOML"),
        ("[tool.dldoctor]\nignore = 3", "ignore: must be a list of strings"),
        ("[tool.dldoctor]\nscan = 3", "must be a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadInput) as error:
        load_settings(write(tmp_path, text))
    assert words in str(error.value)


def test_a_config_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        load_settings(tmp_path, Overrides(config=tmp_path / "no.toml"))


@pytest.mark.parametrize("item", ["ENV012", "ENV012.gib", "gib=3", "ENV13.gib=3"])
def test_set_needs_code_setting_and_value(tmp_path: Path, item: str) -> None:
    with pytest.raises(BadInput, match="--set"):
        load_settings(tmp_path, Overrides(set=[item]))


def test_select_takes_codes_families_and_names_in_any_case(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, Overrides(select=["env012,small-shared-memory", "mem"]))
    chosen, _ = settings.chosen()
    assert {check.code for check in chosen} >= {"ENV012", "ENV001", "MEM002"}


def test_unless_brings_the_graver_check_along_unreported(tmp_path: Path) -> None:
    chosen, unreported = load_settings(tmp_path, Overrides(select=["ENV003"])).chosen()
    assert [check.code for check in chosen] == ["ENV003", "MEM002"]
    assert unreported == {"MEM002"}
