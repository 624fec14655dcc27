from xnorflow.reports import records


def test_the_schema_in_the_repository_is_that_of_the_records() -> None:
    assert records.SCHEMA.read_text() == records.schema(), "python -m xnorflow.reports.records writes it anew"
