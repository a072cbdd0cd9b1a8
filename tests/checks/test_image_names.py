"""Names of files: what is rubble, and what people really call their files."""
# ruff: noqa: RUF001 (letters that look alike are what this is about)

import pytest
from dldoctor.checks.image_names import case_colliding_names, garbled_filename, non_ascii_path, real_names

from dldoctor import Finding, ImageTable

SOUND = [
    "Müller",
    "créée",
    "épée",
    "dédé",
    "Äpfel",
    "öl_öl",
    "Straße",
    "São_Paulo",
    "Ação",
    "niño",
    "Đà_Nẵng",
    "Phở",
    "żółć",
    "İstanbul",
    "ığdır",
    "Ångström",
    "Ærø",
    "naïve",
    "île",
    "âne",
    "pâté",
    "tête-à-tête",
    "猫",
    "こんにちは",
    "한국어",
    "الكلب",
    "собака",
    "Ελλάδα",
    "20°C_30°C",
    "10µm",
    "m²_m³",
    "½_¼",
    "«quote»",
    "────",
    "ÀÁÂÃ",
    "ÉÀÈÙ",
    "Þórður",
    "Žluťoučký_kůň",
    "Tiếng_Việt",
    "é",
    "Ａ１",
    "ｱｲｳ",
    "emoji_🐱",
    "–",
    "Kopie",
]


@pytest.mark.parametrize("name", SOUND)
def test_names_in_any_language_are_left_alone(name: str) -> None:
    assert real_names(name) == []


@pytest.mark.parametrize(
    ("name", "encoding", "through"),
    [
        ("中国", "gbk", "cp437"),
        ("测试图片", "gbk", "latin-1"),
        ("照片 (3)", "gbk", "cp437"),
        ("テスト", "shift_jis", "cp1252"),
        ("東京_01", "shift_jis", "cp437"),
        ("고양이", "euc-kr", "cp437"),
        ("Müller", "utf-8", "cp1252"),
        ("żółć", "utf-8", "cp437"),
        ("кот", "utf-8", "cp1252"),
    ],
)
def test_rubble_is_read_in_its_own_encoding(name: str, encoding: str, through: str) -> None:
    assert (name, encoding.upper()) in real_names(name.encode(encoding).decode(through))


def test_bytes_that_are_no_text_are_read_as_well() -> None:
    shown = "测试图片".encode("gbk").decode("utf-8", "backslashreplace")
    assert real_names(shown) == [("测试图片", "GBK")]


def table(*paths: str) -> ImageTable:
    return ImageTable.from_rows([{"path": path} for path in paths])


def said(findings: object) -> list[str]:
    assert not isinstance(findings, Finding)
    return [str(finding.at) for finding in findings]  # type: ignore[attr-defined]  # an iterator of findings


def test_folders_that_collide_are_told_once() -> None:
    images = table("Cat/1.jpg", "Cat/2.jpg", "cat/1.jpg", "cat/3.jpg", "dog/A.jpg", "dog/a.jpg", "dog/b.jpg")
    assert said(case_colliding_names(images, None)) == ["cat", "dog/a.jpg"]


def test_an_accent_in_two_forms_collides() -> None:
    assert len(said(case_colliding_names(table("caf\u00e9.jpg", "cafe\u0301.jpg"), None))) == 1


def test_a_dataset_named_in_chinese_is_its_owner_s_choice_and_one_such_file_an_exception() -> None:
    ascii_names = [f"{number}.jpg" for number in range(40)]
    assert said(non_ascii_path(table(*(f"猫/{name}" for name in ascii_names)), None)) == []
    assert said(non_ascii_path(table(*ascii_names, "Müller.jpg"), None)) == ["."]
    assert said(garbled_filename(table("Hähne/1.jpg", "H\u00c3\u00a4hne/2.jpg"), None)) == ["H\u00c3\u00a4hne"]
