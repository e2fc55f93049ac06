"""A plan as tables and sentences; printing them is the command line's."""

from typing import Any

from rich.table import Table

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_WORK = {"compute": "flops", "hbm": "bytes_accessed"}
_BINDS = {"compute": "compute", "hbm": "HBM bandwidth", "interconnect": "interconnect", "dcn": "network between slices"}
_KINDS = (
    *("table", "table_slots", "dense", "dense_slots", "catalogue", "batch"),
    *("padding", "outputs", "temporary", "program"),
)


def tables(plan: dict[str, Any]) -> list[Table]:
    """Memory by kind, and collectives by kind and mesh axis, of every program."""
    found = [_memory(plan)]
    if any(program.get("collectives") for program in plan["programs"].values()):
        found.append(_collectives(plan))
    return found


def lines(plan: dict[str, Any]) -> list[str]:
    """What each program costs, with the arithmetic; then whether all of them fit, and where if not."""
    said = []
    for name, program in plan["programs"].items():
        if program["batch"] != program["batch_asked"]:
            data = plan["mesh"]["data"]
            said.append(
                f"{name}: the batch of {program['batch_asked']} rows is rounded up to {program['batch']:,}, a multiple "
                f"of the {data:,} devices along data"
            )
        said += _cost(name, program) if program["fits"] else [_excess(name, program)]
    where = _where(plan)
    if plan["fits"]:
        return [*said, f"fits on {where}"]
    smallest = plan["fits_on"]
    return [*said, f"does not fit on {where}; " + (f"it fits on {smallest}" if smallest else "nor on any larger one")]


def _where(plan: dict[str, Any]) -> str:
    return plan["topology"] + (f" × {plan['slices']} slices" if plan["slices"] > 1 else "")


def _memory(plan: dict[str, Any]) -> Table:
    mesh = " × ".join(f"{axis} {size:,}" for axis, size in plan["mesh"].items())
    title = f"{_where(plan)}: {plan['devices']:,} devices ({mesh}), {plan['items']:,} items; memory of one device"
    table = Table(title=title, title_justify="left")
    table.add_column("bytes")
    programs = plan["programs"]
    for name in programs:
        table.add_column(name, justify="right", no_wrap=True)
    for kind in _KINDS:
        amounts = (program["hbm_bytes"].get(kind) for program in programs.values())
        table.add_row(kind.replace("_", " "), *("" if amount is None else _binary(amount) for amount in amounts))
    table.add_section()
    for label, key in (("needed", "hbm_needed"), ("available", "hbm_limit")):
        table.add_row(label, *(_binary(program[key]) for program in programs.values()))
    table.add_row("fits", *("yes" if program["fits"] else "NO" for program in programs.values()))
    return table


def _collectives(plan: dict[str, Any]) -> Table:
    table = Table(title="Collectives of one run, one device", title_justify="left")
    for name in ("program", "kind", "count", "bytes", "sent", "bytes by mesh axis"):
        table.add_column(name, justify="right" if name in ("count", "bytes", "sent") else "left")
    for name, program in plan["programs"].items():
        for kind, row in program.get("collectives", {}).items():
            axes = ", ".join(f"{axes} {_decimal(amount)}B" for axes, amount in row["axes"].items())
            table.add_row(
                name, kind, str(row["count"]), _decimal(row["bytes"]) + "B", _decimal(row["sent"]) + "B", axes
            )
    return table


def _cost(name: str, program: dict[str, Any]) -> list[str]:
    terms = []
    for term, seconds in program["terms"].items():
        if seconds:
            peak = program["peaks"][term]
            unit, per = ("FLOP", "FLOP/s") if term == "compute" else ("B", "B/s")
            work = program.get(_WORK.get(term, ""), seconds * peak)
            terms.append(f"{term} {_decimal(work)}{unit} / {_decimal(peak)}{per} = {_time(seconds)}")
    loops = f"; {program['loops']} loops, whose bodies are counted once" if program["loops"] else ""
    said = f"{name}: {'; '.join(terms)}: {_BINDS[program['bound_by']]} binds{loops}"
    rate = f"{program['rows_per_second']:,.0f} rows/s"
    speed = f"  {_time(program['seconds'])} for a run of {program['batch']:,} rows, {rate}"
    if "device_hours_per_epoch" in program:
        speed += (
            f"; {program['histories_per_second']:,.0f} histories/s; an epoch of {program['steps_per_epoch']:,} steps "
            f"takes {program['device_hours_per_epoch']:.2g} device-hours"
        )
    return [said, speed]


def _excess(name: str, program: dict[str, Any]) -> str:
    needed, limit = program["hbm_needed"], program["hbm_limit"]
    return f"{name}: needs {_binary(needed)} a device of {_binary(limit)}, {_binary(needed - limit)} too much"


def _binary(amount: float) -> str:
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if amount >= unit:
            return f"{amount / unit:,.2f} {name}"
    return f"{amount:,.0f} B"


def _decimal(amount: float) -> str:
    for unit, prefix in _PREFIXES:
        if amount >= unit:
            return f"{amount / unit:.3g} {prefix}"
    return f"{amount:.3g} "


def _time(seconds: float) -> str:
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds * 1e9:.3g} ns"
