"""Netlists written by hand."""


def cell(kind: str, name: str, **ports: str) -> str:
    connected = "\n".join(f"    connect \\{port} {signal}" for port, signal in ports.items())
    return f"  cell \\{kind} ${name}\n{connected}\n  end\n"
