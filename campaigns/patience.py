"""A campaign whose moment a busy machine has missed is run again, with a longer moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from campaigns.figures import Figures

LONGER = (1.0, 2.0, 4.0)
"""How much longer the moment gets each time."""

Experiment = Callable[[float], Figures]
"""A campaign, given how much longer its moment is to be."""


def until_conclusive(experiment: Experiment) -> Iterator[Figures]:
    """Yield the figures of each run; the last ones count, and are inconclusive only if all were."""
    for longer in LONGER:
        figures = experiment(longer)
        yield figures
        if figures.doubt is None:
            return


def with_longer(run: Callable[..., Figures]) -> Experiment:
    """Return the experiment of a campaign that takes the factor as ``longer``."""
    return lambda longer: run(longer=longer)


def without_haste(run: Callable[[], Figures]) -> Experiment:
    """Return the experiment of a campaign that waits for conditions alone, which no machine is too busy for."""
    return lambda longer: run()
