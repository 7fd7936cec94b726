"""Tables for people: Markdown out of metrics."""

from collections.abc import Mapping

import pandas as pd


def markdown(table: pd.DataFrame, decimals: int = 2) -> str:
    """A data frame as a Markdown table, without its index, a dash for what is missing, ending in a newline."""
    table = table.astype(object).where(table.notna(), None)
    return table.to_markdown(index=False, floatfmt=f".{decimals}f", missingval="–") + "\n"


def results(rows: pd.DataFrame, labels: Mapping[str, str], unranked: set[str]) -> str:
    """Methods × tasks, mean PSNR in dB, and mean seconds an image. The best of a task is bold, never one `unranked` or of few images."""
    psnr = rows.pivot_table(index="method", columns="task", values="psnr", aggfunc="mean", sort=False)
    count = rows.groupby(["method", "task"], sort=False)["image"].nunique().unstack()
    table = pd.DataFrame({"method": [f"`{name}`" for name in labels], "what it is": list(labels.values())}, index=list(labels))
    for task in psnr.columns:
        most = count[task].max()
        ranked = psnr.loc[[m for m in psnr.index if count.at[m, task] == most and m not in unranked], task]
        table[task] = [_cell(psnr[task].get(m), count[task].get(m), most, m == ranked.idxmax()) for m in labels]
    table["cost"] = [f"{value:.1g} s" for value in rows.groupby("method")["seconds"].mean()[list(labels)]]
    return markdown(table)


def _cell(value: float | None, count: float | None, most: float, best: bool) -> str | None:
    if value is None or pd.isna(value):
        return None
    text = f"{value:.2f}" + (f" (n={count:.0f})" if count < most else "")
    return f"**{text}**" if best else text
