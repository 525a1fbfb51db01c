from storage.reference import README, write


def test_the_table_reference_is_current() -> None:
    """Mend with: python -m storage.reference"""
    assert README.read_text(encoding="utf-8") == write()
