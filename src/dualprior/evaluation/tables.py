"""Tables for people: Markdown out of metrics, and its place in the README."""

import pandas as pd

from dualprior.common.errors import UserError
from dualprior.evaluation.image_metrics import ORACLE


def markdown(table: pd.DataFrame, decimals: int = 2) -> str:
    """A data frame as a Markdown table, without its index, a dash for what is missing, ending in a newline."""
    table = table.astype(object).where(table.notna(), None)
    return table.to_markdown(index=False, floatfmt=f".{decimals}f", missingval="–") + "\n"


def best_method(methods: dict[str, dict[str, float]]) -> str:
    """The method of best mean PSNR among those that ran on every test image and never saw the clean one."""
    everywhere = max(numbers["n"] for numbers in methods.values())
    fair = {m: v["psnr"] for m, v in methods.items() if v["n"] == everywhere and m != ORACLE}
    return max(fair, key=fair.get)


def render_results(summary: dict[str, dict[str, dict[str, float]]]) -> str:
    """Methods × tasks, mean PSNR with its interval, from the contents of metrics/summary.json.

    The best fair method of a task is bold; a method that ran on fewer images shows its n, and is not ranked.
    """
    methods = _merged([list(task) for task in summary.values()])
    table = pd.DataFrame({"method": [_label(method) for method in methods]})
    for task, numbers in summary.items():
        best, everywhere = best_method(numbers), max(value["n"] for value in numbers.values())
        cells = [_cell(numbers.get(method), everywhere) for method in methods]
        table[task] = [f"**{cell}**" if method == best else cell for method, cell in zip(methods, cells, strict=True)]
    return markdown(table) + "\n" + _note(summary)


def _merged(orders: list[list[str]]) -> list[str]:
    """All names; one that only later lists have stands behind its predecessor there."""
    merged: list[str] = []
    for order in orders:
        for before, name in zip([None, *order], order, strict=False):
            if name not in merged:
                merged.insert(merged.index(before) + 1 if before else 0, name)
    return merged


def _label(method: str) -> str:
    return f"{method} (sees the clean image)" if method == ORACLE else method


def _cell(numbers: dict[str, float] | None, everywhere: int) -> str:
    if numbers is None:
        return "–"
    few = f", n={numbers['n']}" if numbers["n"] < everywhere else ""
    return f"{numbers['psnr']:.2f} [{numbers['psnr_lo']:.2f}, {numbers['psnr_hi']:.2f}]{few}"


def _note(summary: dict) -> str:
    counts = sorted({max(value["n"] for value in numbers.values()) for numbers in summary.values()})
    images = " or ".join(map(str, counts))
    return (
        f"Mean PSNR in dB over {images} test images [bootstrap interval of the mean over images]. Bold: the best method of "
        "the task among those that ran on all images and never saw a clean one. n=: ran on the first n images only.\n"
    )


def render_claims(claims: dict[str, dict]) -> str:
    """One row a claim, from the contents of metrics/claims.json; a claim that does not hold says so."""
    rows = [
        {
            "claim": name,
            "value [interval]": _value(c),
            "goal": c["goal"],
            "holds": "yes" if c["holds"] else "**no**",
            "rival": c.get("rival", "–"),
        }
        for name, c in claims.items()
    ]
    held = sum(c["holds"] for c in claims.values())
    return f"{held} of {len(claims)} claims hold.\n\n" + markdown(pd.DataFrame(rows))


def _value(claim: dict) -> str:
    """With its interval; with its range where it has one instead; alone where there is neither."""
    value, ends = f"{claim['value']:.3g}", (claim["lo"], claim["hi"])
    if "range" in claim:
        return f"{value} ({ends[0]:.3g} to {ends[1]:.3g} over {claim['range']})"
    return value if set(ends) == {claim["value"]} else f"{value} [{ends[0]:.3g}, {ends[1]:.3g}]"


def inject(text: str, name: str, table: str) -> str:
    """`text` with what lies between `<!-- BEGIN name -->` and `<!-- END name -->` replaced by `table`.

    Raises UserError where the two markers are not there once each, in order.
    """
    begin, end = f"<!-- BEGIN {name} -->", f"<!-- END {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise UserError(f"the markers '{begin}' and '{end}' must stand once each, in this order; put them into the README")
    head, rest = text.split(begin)
    return f"{head}{begin}\n{table.strip()}\n{end}{rest.split(end)[1]}"
