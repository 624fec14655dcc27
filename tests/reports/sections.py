"""The sections of a report's page."""

SECTIONS = (
    *(
        "summary",
        "findings",
        "requirements",
        "fit",
        "baseline",
        "engines",
        "coverage",
        "layers",
        "samples",
        "confusion",
        "rtl",
        "hls",
        "latency",
    ),
    *("hardware", "synthesis", "asic", "vendor", "predicted", "energy", "memory", "provenance"),
)
