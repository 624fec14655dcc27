from xnorflow.reports import schema


def test_the_schema_in_the_repository_is_that_of_the_records() -> None:
    assert schema.SCHEMA.read_text() == schema.schema(), "python -m xnorflow.reports.schema writes it anew"
