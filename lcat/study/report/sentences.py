"""The results in sentences: the first part of the page."""

from __future__ import annotations

import math

import pandas as pd

from lcat._text import counted
from lcat.study.analysis.direction import are_shares
from lcat.study.analysis.selection import is_generated
from lcat.study.report.data import ReportData
from lcat.study.report.table import p_phrase, seconds_text
from lcat.study.report.unit import Unit
from lcat.study.statistics import fewest_datasets
from lcat.study.statistics.paired import FEWEST_PAIRS

__all__ = [
    "chosen_sentence",
    "generated_note",
    "ranking_sentence",
    "regret_sentences",
    "tiles",
    "verdict_sentences",
]


def tiles(data: ReportData) -> list[tuple[str, str]]:
    """Counts for the head of the page: a number, and what it counts."""
    facts = data.facts
    left = facts["planned"] - facts["done"] - facts["failed"]
    counts = [
        _tile(facts["done"], "cell", " done")
        if left <= 0
        else (f"{facts['done']:,}", f"of {counted(facts['planned'], 'cell')} done"),
        _tile(len(facts["datasets"]), "data set"),
        _tile(len(facts["layers"]), "layer"),
        _tile(len(facts["seeds"]), "seed"),
        (seconds_text(facts["seconds"]), "of training"),
    ]
    if facts["failed"]:
        counts.append(_tile(facts["failed"], "cell", " failed"))
    return counts


def _tile(count: int, what: str, more: str = "") -> tuple[str, str]:
    number, words = counted(count, what).split(" ", 1)
    return number, words + more


def verdict_sentences(data: ReportData) -> list[str]:
    """Is always taking L-CAT as good as cross-validation? One text per version, for the first line of the page."""
    unit = data.unit
    margin = f"{unit.sized(data.margin)} of the test metric"
    sentences = []
    for _, rows in data.regret.groupby("question", sort=False):
        always, candidates = rows["always"].iloc[0], rows["candidates"].iloc[0]
        words = {
            "equivalent": f"equivalent to cross-validating {candidates} within {margin}",
            "better": "better",
            "worse": "worse",
            "undecided": "undecided",
        }
        if len(rows) == 1:
            row = rows.iloc[0]
            sentences.append(_one_verdict(row, words["equivalent"], unit))
            continue
        parts: list[str] = []
        for word, text in words.items():
            names = rows.loc[rows["verdict"] == word, "dataset"].tolist()
            if word == "equivalent" or names:
                share = f"{len(names) or 'none'} of {counted(len(rows), 'data set')}" if not parts else str(len(names))
                parts.append(f"{text} on {share}{f' ({_list(names)})' if names else ''}")
        sentence = f"Always taking {always} is {', '.join(parts)}"
        sentences.append(f"{sentence}.{_what_would_decide(rows)}")
    if sentences and data.looks:
        sentences[-1] += (
            f" The study was looked at {counted(data.looks, 'time')} to decide whether to go on, so this look tests at "
            f"the level {data.alpha:.2g}."
        )
    return sentences


def _one_verdict(row: pd.Series, equivalent: str, unit: Unit) -> str:
    if row["verdict"] == "equivalent":
        how = f"two one-sided t tests, {p_phrase(row['p_equivalent'])}"
        return f"On {row['dataset']}, always taking {row['always']} is {equivalent} ({how})."
    if row["verdict"] == "undecided":
        text = f"On {row['dataset']}, it is undecided whether always taking {row['always']} is {equivalent}"
        return f"{text}.{_what_would_decide(row.to_frame().T)}"
    how = f"{unit.difference(-row['regret'])}{unit.points}, {p_phrase(row['p_value'])}"
    return (
        f"On {row['dataset']}, always taking {row['always']} is {row['verdict']} than cross-validating "
        f"{row['candidates']} ({how})."
    )


def _what_would_decide(rows: pd.DataFrame) -> str:
    """How much more it takes on the data sets that are undecided."""
    texts: list[str] = []
    hopeless: list[str] = []
    hardly: list[str] = []
    for row in rows[rows["verdict"] == "undecided"].itertuples():
        if math.isinf(row.samples_to_decide):
            (hopeless if row.test_train_ratio > 0 else hardly).append(str(row.dataset))
        elif row.samples_to_decide > row.samples:
            many = f"{row.samples_to_decide:,.0f} independent runs on {row.dataset}"
            texts.append(f"{many} (this study has {row.samples})")
    text = f" To decide, it would take about {_list(texts)}, if they go on as they began." if texts else ""
    if hopeless:
        text += f" No number of such splits would decide on {_list(hopeless)}: they share too many training nodes."
    if hardly:
        text += f" On {_list(hardly)} the difference is so close to the margin, or to zero, that no study would decide."
    return text


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def regret_sentences(data: ReportData) -> list[str]:
    """The regret of always using L-CAT, one text per version."""
    sentences = []
    for question, rows in data.regret.groupby("question", sort=False):
        always, candidates = rows["always"].iloc[0], rows["candidates"].iloc[0]
        count = len(rows)
        ratio = rows["cross_validated_seconds"].sum() / rows["always_seconds"].sum()
        where = f"on {rows['dataset'].iloc[0]}" if count == 1 else f"on average over {count} data sets"
        if count > 1 and rows["metric"].nunique() > 1 and not are_shares(rows):
            sentences.append(
                f"What always using {always} costs instead of cross-validating {candidates} ({question}) has no mean: "
                f"the metrics of the {count} data sets have different units{_how_sure(rows, str(always))}. "
                f"Cross-validation took {ratio:.1f} times the compute."
            )
            continue
        mean = rows["regret"].mean()
        verb, points = "costs" if mean >= 0 else "gains", data.unit.difference(abs(mean)).lstrip("+")
        sentence = (
            f"Always using {always} instead of cross-validating {candidates} ({question}) {verb} {points}"
            f"{' percentage points' if data.unit.is_percent else ''} of the test metric {where}"
        )
        if count > 1:
            worst = rows.loc[rows["regret"].idxmax()]
            sentence += f". The largest regret is {data.unit.difference(worst['regret'])} on {worst['dataset']}"
        sentence += _how_sure(rows, str(always))
        sentences.append(f"{sentence}. Cross-validation took {ratio:.1f} times the compute.")
    return sentences


def _how_sure(rows: pd.DataFrame, always: str) -> str:
    """What the intervals of the regret say, and where there are too few samples to say anything."""
    tested = rows[rows["p_value"].notna()]
    untested = rows[rows["p_value"].isna()]
    better, worse = int((tested["high"] < 0).sum()), int((tested["low"] > 0).sum())
    text = ""
    if len(rows) == 1 and len(tested):
        meaning = f"for {always}" if better else f"against {always}" if worse else "it may be chance"
        verb = "excludes" if better + worse else "includes"
        text = f". The 95 % confidence interval of the regret {verb} zero: {meaning}"
    elif len(tested):
        share = f"{better + worse or 'none'} of {counted(len(tested), 'data set')}"
        text = f". The 95 % confidence interval of the regret excludes zero on {share}"
        text += f" ({better} for {always}, {worse} against)" if better + worse else ""
    if len(untested):
        fewest, largest = int(untested["samples"].min()), int(untested["samples"].max())
        count = counted(largest, "independent run") if fewest == largest else f"{fewest} to {largest} independent runs"
        where = "" if len(rows) == 1 else f" on {', '.join(untested['dataset'])}"
        text += f". With {count}{where} this may be chance: a test takes at least {FEWEST_PAIRS}"
    return text


def ranking_sentence(data: ReportData) -> str:
    """Friedman's test and the best ranks."""
    ranking = data.comparison.ranking
    if ranking is None:
        return ""
    friedman, ranks = ranking.friedman, ranking.average_ranks
    best = [name for name, rank in ranks.items() if math.isclose(rank, ranks.iloc[0])]
    text = f"Over {counted(friedman.datasets, 'data set')} "
    if len(best) > 1:
        names = f"{', '.join(best[:-1])} and {best[-1]}"
        text += f"{names} share the best average rank, {ranks.iloc[0]:.2f} of {len(ranks)}. "
    else:
        text += (
            f"{best[0]} has the best average rank, {ranks.iloc[0]:.2f} of {len(ranks)}, then {ranks.index[1]}, "
            f"{ranks.iloc[1]:.2f}. "
        )
    needed = fewest_datasets(len(ranks), ranking.alpha)
    if friedman.datasets < needed:
        text += (
            f"That is too few for a test of {counted(len(ranks), 'layer')}: even if all of them agree, "
            f"chance does so too often. At least {needed} are necessary."
        )
    else:
        differ = friedman.p_value <= ranking.alpha
        how = "over all orders of the scores" if math.isfinite(friedman.permutation_p_value) else "Iman and Davenport"
        text += (
            f"Friedman's test {'says that layers differ' if differ else 'cannot distinguish the layers'} "
            f"(χ² = {friedman.statistic:.2f}, {p_phrase(friedman.p_value)}, {how})."
        )
    if ranking.left_out:
        text += f" Left out, because of failed runs or of a missing score on a data set: {', '.join(ranking.left_out)}."
    return text


def chosen_sentence(data: ReportData) -> str:
    """The choice of COPA."""
    missing = ", ".join(data.unmeasured)
    if not len(data.choice):
        return f"Nothing was chosen, because no cell has a value for {missing}." if missing else ""
    goals = ", ".join(data.objectives)
    if len(data.overall_choice):
        layer = data.overall_choice.loc[data.overall_choice["chosen"], "layer"].iloc[0]
        text = f"COPA over {goals} chooses {layer} for all data sets. It does not use the test metric."
    else:
        layer = data.choice.loc[data.choice["chosen"], "layer"].iloc[0]
        text = f"COPA over {goals} chooses {layer}. It does not use the test metric."
    measured = data.selection.finished
    measured = measured[~measured["dataset"].map(is_generated)]
    if (measured.groupby("dataset")["test_set"].nunique() > 1).any():
        text += (
            " The choice uses several splits, and validation nodes of one split are test nodes of another. To judge"
            " how good a layer is, use the scores, not the values behind the choice."
        )
    return text + (f" Not used, because no cell has a value: {missing}." if missing else "")


def generated_note(data: ReportData) -> str:
    """Which data sets are generated."""
    names = [name for name in data.datasets if is_generated(name)]
    if not names:
        return ""
    which = "All data sets here are" if len(names) == len(data.datasets) else f"{', '.join(names)}:"
    return (
        f"{which} generated from a model. The results show what happens if the assumptions of the model hold. "
        "They are no evidence about measured data."
    )
