"""Sentences of the report that follow the numbers: what is said is chosen by their sign and size."""

from collections.abc import Mapping

import pandas as pd
from studies.theory.params import Laws

from dualprior.common.params import DDPM, DIP, Data, Hybrid

REFERENCES = (
    "Bates & Granger 1969, The combination of forecasts",
    "Chung & Ye 2024, Deep diffusion image prior for efficient OOD adaptation in 3D inverse problems",
    "Chung, Kim, Mccann, Klasky & Ye 2023, Diffusion posterior sampling for general noisy inverse problems",
    "Chung, Sim & Ye 2022, Come-closer-diffuse-faster: accelerating conditional diffusion models for inverse problems",
    "Damelin & Hoang 2018, On surface completion and image inpainting by biharmonic functions: numerical aspects",
    "Heusel et al. 2017, GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    "Ho, Jain & Abbeel 2020, Denoising diffusion probabilistic models",
    "Karras, Aittala, Aila & Laine 2022, Elucidating the design space of diffusion-based generative models",
    "Krogh & Vedelsby 1995, Neural network ensembles, cross validation, and active learning",
    "Li et al. 2021, Self-validation: early stopping for single-instance deep generative priors",
    "Knutsson & Westin 1993, Normalized and differential convolution",
    "Lugmayr et al. 2022, RePaint: inpainting using denoising diffusion probabilistic models",
    "Mataev, Milanfar & Elad 2019, DeepRED: deep image prior powered by RED",
    "Meng et al. 2022, SDEdit: guided image synthesis and editing with stochastic differential equations",
    "Miyasawa 1961, An empirical Bayes estimator of the mean of a normal population",
    "Mohan et al. 2021, Adaptive denoising via GainTuning",
    "Nichol, Achiam & Schulman 2018, On first-order meta-learning algorithms",
    "Pang, Zheng, Quan & Ji 2021, Recorrupted-to-recorrupted: unsupervised deep learning for image denoising",
    "Ramani, Blu & Unser 2008, Monte-Carlo SURE",
    "Robbins 1956, An empirical Bayes approach to statistics",
    "Romano, Elad & Milanfar 2017, The little engine that could: regularization by denoising (RED)",
    "Salimans & Ho 2022, Progressive distillation for fast sampling of diffusion models",
    "Song, Meng & Ermon 2021, Denoising diffusion implicit models",
    "Tirer & Giryes 2020, Back-projection based fidelity term for ill-posed linear inverse problems",
    "Ulyanov, Vedaldi & Lempitsky 2018, Deep image prior",
    "Vincent 2011, A connection between score matching and denoising autoencoders",
    "Wang, Yu & Zhang 2023, Zero-shot image restoration using denoising diffusion null-space model",
    "Wang et al. 2023, Early stopping for deep image prior",
    "Zhu et al. 2023, Denoising diffusion models for plug-and-play image restoration",
)


def of_laws(table: pd.DataFrame, laws: Laws) -> str:
    """How near simulation and the trained network are to the laws. table: of stage laws."""
    by = dict(list(table.groupby("law")))
    apart = max(_apart(by["restart"], f"{kind}, simulated", f"{kind}, law") for kind in ("matched", "plain"))
    network = by["network"].pivot_table(index="x", columns="series", values="mse")
    best = network["matched"].idxmin()
    base = laws.error**2
    plain = network["plain"].min()
    said = f"The simulation is within {100 * apart:.1f} % of the law. "
    said += f"With the trained network and starts of white error e = {laws.error:g}, "
    said += f"a matched restart is best at s = {best:g}, with {network['matched'].min() / base:.2f} of the start's squared error"
    said += f"; a plain one reaches {plain / base:.2f} of it at best" + (", never less than the start itself. " if plain >= base else ". ")
    fusion = by["fusion"].set_index("series")
    measured = by["fusion"][by["fusion"]["series"] == "measured"]
    optimum = measured.loc[measured["mse"].idxmin(), "x"]
    said += f"The blend of a stopped DIP and a mean of chains ({laws.task}) is best at weight {optimum:g} of the DIP, by the law at "
    said += f"{blending.loc['best weight by the law', 'x']:.2f}. The mean of K chains has the law's error within "
    return said + f"{100 * _apart(by['mean'], 'measured', 'law'):.0f} %."


def _apart(rows: pd.DataFrame, one: str, other: str) -> float:
    """Largest relative difference of two series at the x they share."""
    wide = rows.pivot_table(index="x", columns="series", values="mse")[[one, other]].dropna()
    return float((wide[one] / wide[other] - 1).abs().max())


def of_setup(data: Data, ddpm: DDPM, dip: DIP, hybrid: Hybrid) -> str:
    """What was trained and fitted, from the parameters."""
    training, network = ddpm.training, dip.network
    text = (
        f"the diffusion model predicts {ddpm.prediction} over {ddpm.schedule.timesteps} levels ({ddpm.schedule.kind}), trained for "
        f"{training.steps} steps of {training.batch_size} on {data.train_patches} patches of {data.patch_size} pixels. A DIP is a pair of "
        f"networks ({network.kind}, {'-'.join(map(str, network.channels))} channels), fitted for at most {dip.steps} steps"
    )
    for operator, own in dip.networks.items():
        text += f"; for {operator}, {own.kind}"
    return (
        f"{text}. The hybrid restarts with {hybrid.calls} calls, averages {hybrid.samples} stochastic restarts of {hybrid.sample_calls} "
        f"and {hybrid.samples} guided chains of {hybrid.guided_calls} calls."
    )


def of_audit(table: pd.DataFrame) -> str:
    """What letting the clean image in is worth, and whether anything is left when it is kept out."""
    leaking = table[table["leaks"]]
    left = leaking[leaking["mended"] > leaking["dip_stopped"]]  # means of the same crops, without an interval
    named = ", ".join(f"{row.protocol} on {row.task}" for row in left.itertuples())
    return (
        f"Letting the clean image in fakes {leaking['difference'].min():.1f} to {leaking['difference'].max():.1f} dB. With the leak closed "
        + (f"the mean is above the stopped DIP's on: {named}." if len(left) else "no mean is above the stopped DIP's.")
    )


def of_generation(report: Mapping) -> str:
    """The best sampler beside the floor of real images."""
    distance = next(name for name in report["floor"] if name.startswith("frechet"))
    samplers = {name: numbers for name, numbers in report.items() if isinstance(numbers, Mapping) and name != "floor"}
    best = min(samplers, key=lambda name: samplers[name][distance])
    copies = max(numbers["copy_ratio"] for numbers in samplers.values())
    return (
        f"{report['distance']}: {samplers[best][distance]:.2f} at best ({best}, {samplers[best]['nfe']} calls), "
        f"{report['floor'][distance]:.2f} between two sets of real patches of the same size ({report['n']}). Nearest training patches are "
        f"at {copies:.2f} times the distance they have to photographs not trained on, so "
        + ("nothing is copied." if min(numbers["copy_ratio"] for numbers in samplers.values()) > 0.8 else "some samples may be copies.")
    )


def of_failures(worst: pd.DataFrame) -> str:
    """How many of the worst crops lie below their rival, and where."""
    below = worst[worst["gain, dB"] < 0]
    deepest = worst.loc[worst["gain, dB"].idxmin()]
    return (
        "For every task the crops on which the hybrid gains least over its strongest rival (default run). "
        f"{len(below)} of {len(worst)} are losses; the largest is {deepest['gain, dB']:+.2f} dB ({deepest['crop']}, {deepest['task']})."
    )
