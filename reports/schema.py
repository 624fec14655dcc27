"""The JSON schema of a report, ``report.schema.json``: ``python -m xnorflow.reports.schema`` writes it anew."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from xnorflow.reports.records import ReportRow

SCHEMA = Path(__file__).parent / "report.schema.json"


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # it would be the name again


def schema() -> str:
    """Return the JSON schema of a report, a record a line."""
    whole = TypeAdapter(ReportRow).json_schema(schema_generator=_Untitled)
    records = whole.pop("$defs") | {"Report": whole}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(record)}" for name, record in sorted(records.items()))
    return (
        '{\n "$schema": "https://json-schema.org/draft/2020-12/schema",\n "$ref": "#/$defs/Report",\n'
        f' "$defs": {{\n{lines}\n }}\n}}\n'
    )


if __name__ == "__main__":
    SCHEMA.write_text(schema())
