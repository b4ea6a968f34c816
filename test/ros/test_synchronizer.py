"""Frames of staggered cameras become glances; good frames are not lost."""

import random

import pytest

from distillnerf_ros.ros.synchronizer import Frame, Glance, GlanceSynchronizer

PERIOD_NS = 83_333_333
OFFSETS_NS = [7_500_000, 15_800_000, 23_000_000, 32_700_000, 42_600_000, 0]
"""When the nuScenes cameras fire within a cycle, in the order of CAMERA_NAMES."""
T0_NS = 1_600_000_000_000_000_000


def frame(camera, cycle, delay_s=0.01, offset_ns=0):
    stamp = T0_NS + cycle * PERIOD_NS + OFFSETS_NS[camera] + offset_ns
    return Frame(camera, stamp, (stamp - T0_NS) * 1e-9 + delay_s, f"{camera}/{cycle}")


def stream(cycles, skip=lambda camera, cycle: False, delay_s=lambda camera: 0.01):
    frames = [
        frame(camera, cycle, delay_s(camera))
        for cycle in range(cycles)
        for camera in range(6)
        if not skip(camera, cycle)
    ]
    return sorted(frames, key=lambda f: f.arrival_s)


def play(sync, frames, poll_s=0.02):
    """Deliver frames in order of arrival, polling in between as the node's timer does."""
    glances, now_s = [], 0.0
    for one in frames:
        while now_s < one.arrival_s:
            glances += sync.poll(now_s)
            now_s += poll_s
        glances += sync.add(one)
    for _ in range(50):
        now_s += poll_s
        glances += sync.poll(now_s)
    return glances


def make(min_cameras=3, window_s=0.06, timeout_s=0.15):
    return GlanceSynchronizer(6, window_s, timeout_s, min_cameras)


def cycles_of(glance: Glance):
    return {frame.image.split("/")[1] for frame in glance.present}


def test_every_frame_of_a_healthy_rig_is_used_once():
    sync = make()
    glances = play(sync, stream(20))
    assert len(glances) == 20
    assert all(len(glance.present) == 6 and len(cycles_of(glance)) == 1 for glance in glances)
    assert glances[0].spread_s == pytest.approx(0.0426)
    assert glances[0].reference_ns == T0_NS + 42_600_000
    assert [c.used for c in sync.counts] == [20] * 6
    assert sum(c.dropped for c in sync.counts) == 0


def test_a_complete_glance_is_emitted_at_once():
    sync = make()
    frames = stream(1)
    assert [bool(sync.add(one)) for one in frames] == [False] * 5 + [True]


def test_joining_in_the_middle_of_a_cycle_finds_the_rig_phase():
    """Only the two cameras of the cut first cycle are left out; no glance mixes cycles."""
    sync = make()
    glances = play(sync, stream(10)[4:])
    assert len(glances) == 9
    assert all(len(glance.present) == 6 and len(cycles_of(glance)) == 1 for glance in glances)
    assert sum(c.unmatched for c in sync.counts) == 2


@pytest.mark.parametrize("camera", range(6))
def test_one_lost_frame_costs_that_frame_only(camera):
    sync = make()
    glances = play(sync, stream(20, skip=lambda c, cycle: (c, cycle) == (camera, 10)))
    assert [len(glance.present) for glance in glances] == [6] * 10 + [5] + [6] * 9
    assert glances[10].frames[camera] is None
    assert sum(c.dropped for c in sync.counts) == 0


@pytest.mark.parametrize("camera", range(6))
def test_a_dead_camera_is_a_hole_and_soon_costs_no_waiting(camera):
    sync = make()
    frames = stream(30, skip=lambda c, cycle: c == camera)
    emitted = []
    for one in frames:
        emitted += [(one.arrival_s, glance) for glance in sync.poll(one.arrival_s)]
        emitted += [(one.arrival_s, glance) for glance in sync.add(one)]
    assert len(emitted) >= 28
    assert all(len(glance.present) == 5 and glance.frames[camera] is None for _, glance in emitted)
    arrival_s, last = emitted[-1]
    assert arrival_s == max(frame.arrival_s for frame in last.present)


def test_a_camera_that_comes_back_is_in_the_next_glances():
    sync = make()
    glances = play(sync, stream(40, skip=lambda c, cycle: c == 2 and 5 <= cycle < 25))
    present = [glance.frames[2] is not None for glance in glances]
    assert present[:5] == [True] * 5
    assert present[-14:] == [True] * 14
    assert len(glances) >= 39


def test_a_late_camera_inside_the_timeout_is_waited_for():
    sync = make()
    glances = play(sync, stream(20, delay_s=lambda c: 0.11 if c == 1 else 0.01))
    assert [len(glance.present) for glance in glances] == [6] * 20


def test_frames_too_late_for_their_glance_are_counted_not_used():
    sync = make()
    frames = sorted([*stream(1)[:5], frame(4, 0, delay_s=0.5)], key=lambda f: f.arrival_s)
    glances = play(sync, frames)
    assert [len(glance.present) for glance in glances] == [5]
    late = sync.add(frame(4, 0, delay_s=0.6, offset_ns=-20_000_000))
    assert late == []
    assert sync.counts[4].late == 1


def test_too_few_cameras_give_no_glance_and_say_so():
    sync = make(min_cameras=3)
    glances = play(sync, stream(10, skip=lambda c, cycle: c > 1))
    assert glances == []
    assert sync.too_few == 10
    assert sync.counts[0].unmatched == 10


def test_one_camera_is_enough_where_that_is_asked_for():
    sync = make(min_cameras=1)
    glances = play(sync, stream(10, skip=lambda c, cycle: c > 0))
    assert [glance.present[0].image for glance in glances] == [f"0/{i}" for i in range(10)]


def test_a_camera_on_another_clock_does_not_stop_the_others():
    sync = make(min_cameras=1)
    frames = [
        frame(c, cycle, offset_ns=0 if c else 20_000_000_000, delay_s=0.01 if c else -19.99)
        for cycle in range(20)
        for c in range(6)
    ]
    glances = play(sync, sorted(frames, key=lambda f: f.arrival_s))
    fives = [glance for glance in glances if len(glance.present) == 5]
    assert len(fives) >= 18


def test_time_that_starts_over_flushes():
    sync = make()
    play(sync, stream(20))
    sync.add(frame(0, 20))
    again = [Frame(f.camera, f.stamp_ns, f.arrival_s + 2, f.image) for f in stream(20)]
    glances = play(sync, again)
    assert sync.time_jumps == 1
    assert len(glances) == 20
    assert all(len(glance.present) == 6 and len(cycles_of(glance)) == 1 for glance in glances)


def test_queues_are_bounded():
    sync = make(timeout_s=100.0)
    for cycle in range(30):
        sync.add(frame(0, cycle))
    assert sync.counts[0].overflow == 22


def test_every_frame_is_accounted_for():
    """Received = used + dropped + pending, whatever happens."""
    random.seed(5)
    sync = make()
    frames = stream(60, skip=lambda c, cycle: random.random() < 0.2)
    jittered = [
        Frame(f.camera, f.stamp_ns, f.arrival_s + random.random() * 0.2, f.image) for f in frames
    ]
    glances = play(sync, sorted(jittered, key=lambda f: f.arrival_s))
    for camera, counts in enumerate(sync.counts):
        used = sum(glance.frames[camera] is not None for glance in glances)
        assert counts.used == used
        assert counts.received == counts.used + counts.dropped
    assert all(glance.spread_s <= 0.06 for glance in glances)
    references = [glance.reference_ns for glance in glances]
    assert references == sorted(references)
