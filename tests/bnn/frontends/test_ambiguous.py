"""Where a threshold depends on how the framework rounds: runs of accumulators, held channel by channel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xnorflow.bnn.frontends.core.value import Ambiguous

RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9), st.integers(0, 4)), max_size=5)


def of(runs: list[tuple[int, int, int]]) -> tuple[Ambiguous, set[tuple[int, int]]]:
    """Return runs, given by channel, lowest accumulator and length, and their pairs one by one."""
    ends = np.array([(channel, low, low + length) for channel, low, length in runs], np.int64).reshape(-1, 3)
    pairs = {(channel, low + k) for channel, low, length in runs for k in range(length + 1)}
    return Ambiguous(len(pairs), ends), pairs


@given(RUNS, st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4))
def test_runs_hold_their_pairs_and_no_other_also_turned(runs: list[tuple[int, int, int]], signs: list[int]) -> None:
    ambiguous, pairs = of(runs)
    channels, accumulators = (grid.reshape(-1) for grid in np.meshgrid(np.arange(4), np.arange(-15, 16)))
    expected = [(c, a) in pairs for c, a in zip(channels.tolist(), accumulators.tolist(), strict=True)]
    assert ambiguous.holds(channels, accumulators).tolist() == expected
    turned = ambiguous.turned(np.array(signs, np.int8))
    assert turned.holds(channels, accumulators * np.array(signs)[channels]).tolist() == expected
