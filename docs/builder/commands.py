"""The options of ``celery dtimer``, as its commands declare them."""

from collections.abc import Iterator

import click

from celery_dtimer.operating.cli import dtimer

#: How values are shown whose option does not name them.
VALUES = {"INTEGER": "N", "INTEGER RANGE": "N", "FLOAT": "NUMBER", "FLOAT RANGE": "NUMBER"}


def options(*names: str) -> str:
    """Return a table of the options of commands; of several, each option says whose it is."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name in names:
        for option in options_of(name):
            rows.setdefault((_shown(option), _meaning(option)), []).append(name)
    several = len(names) > 1
    lines = ["| option | of | meaning |", "|---|---|---|"] if several else ["| option | meaning |", "|---|---|"]
    for (shown, meaning), of in rows.items():
        whose = f" {'all' if of == list(names) else ', '.join(f'`{name}`' for name in of)} |" if several else ""
        lines.append(f"| {shown} |{whose} {meaning} |")
    return "\n".join(lines)


def options_of(name: str) -> Iterator[click.Option]:
    """Yield the options that a command shows in its help, but for the help itself."""
    for option in dtimer.commands[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            yield option


def _shown(option: click.Option) -> str:
    """Return an option as it is typed."""
    value = option.make_metavar(click.Context(dtimer))
    typed = "" if option.is_flag else f" {VALUES.get(value, value)}"
    shown = ", ".join(f"`{name}{typed}`" for name in option.opts).replace("|", "\\|")
    return f"{shown}, any number of times" if option.multiple else shown


def _meaning(option: click.Option) -> str:
    """Return the help of an option, and its default where the command shows it."""
    default = f" Default: `{option.default}`." if option.show_default and option.default is not None else ""
    return ((option.help or "") + default).replace("|", "\\|").replace("<", "\\<")
