from itertools import pairwise

from tests.flows.fakes import image_network, network

from xnorflow.hls.rtl.config import Folded, RtlConfig
from xnorflow.hls.rtl.cycles import cycles, occupancy
from xnorflow.hls.rtl.project import plan


def test_a_frame_moves_from_unit_to_unit_and_leaves_when_the_model_says() -> None:
    for given in (network(), image_network()):
        pipeline = plan(given, RtlConfig(default=Folded(1, 2), in_width=8, out_width=8))
        model, occupied = cycles(pipeline), occupancy(pipeline, 3)
        assert [unit.name for unit, _ in occupied] == [name for name, _ in model.intervals]
        assert [frame.first_in for frame in occupied[0][1]] == [frame.first_in for frame in model.frames[:3]]
        assert [frame.last_out for frame in occupied[-1][1]] == [frame.last_out for frame in model.frames[:3]]
        for (unit, here), (_, behind) in pairwise(occupied):
            for frame, following in zip(here, behind):
                assert frame.first_in < following.first_in <= frame.last_out
                assert frame.latency >= unit.interval - unit.steps[-1].busy


def test_the_slowest_unit_never_rests() -> None:
    pipeline = plan(network(), RtlConfig(default=Folded(1, 1)))
    unit, frames = max(occupancy(pipeline), key=lambda pair: pair[0].interval)
    assert [b.first_in - a.first_in for a, b in pairwise(frames)] == [unit.interval] * 3
