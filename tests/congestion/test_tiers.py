"""Who shares the player's picture, and who gets the lower one."""

from __future__ import annotations

from dataclasses import replace

from agent.congestion import tiers
from agent.congestion.tiers import Plan, Tiers, ViewerPath

MAIN_BPS = 8_000_000
STEP_S = 0.25


def player(media_bps: int = MAIN_BPS) -> ViewerPath:
    return ViewerPath(1, True, media_bps, True)


def viewer(media_bps: int, *, number: int = 2, limited: bool = True) -> ViewerPath:
    return ViewerPath(number, False, media_bps, limited)


class Clock:
    """Decides four times a second, as the media process does."""

    def __init__(self) -> None:
        self.tiers = Tiers()
        self.now = 100.0

    def run(self, seconds: float, *paths: ViewerPath) -> Plan:
        until = self.now + seconds
        plan = self.tiers.decide(paths, self.now)
        while self.now < until:
            self.now += STEP_S
            plan = self.tiers.decide(paths, self.now)
        return plan


def test_the_players_path_alone_decides_about_the_main_picture() -> None:
    plan = Clock().run(60.0, player(3_000_000), viewer(50_000_000), viewer(500_000, number=3))
    assert plan == Plan(3_000_000, 500_000, frozenset({3}))


def test_a_viewer_with_less_gets_the_lower_picture_after_a_while_and_a_dip_moves_nobody() -> None:
    clock = Clock()
    assert not clock.run(0.5, player(), viewer(2_000_000)).lower
    assert not clock.run(0.25, player(), viewer(MAIN_BPS)).lower
    assert not clock.run(0.5, player(), viewer(2_000_000)).lower
    plan = clock.run(0.5, player(), viewer(2_000_000))
    assert plan == Plan(MAIN_BPS, 2_000_000, frozenset({2}))


def test_a_rate_that_nothing_has_filled_yet_moves_nobody() -> None:
    assert not Clock().run(60.0, player(), viewer(2_000_000, limited=False)).lower


def test_a_little_less_than_the_main_rate_is_no_reason() -> None:
    assert not Clock().run(60.0, player(), viewer(int(MAIN_BPS * 0.85))).lower


def test_the_slowest_decides_about_the_lower_picture_and_the_next_one_when_it_left() -> None:
    clock = Clock()
    slow, slower = viewer(2_000_000), viewer(1_000_000, number=3)
    assert clock.run(2.0, player(), slow, slower).lower_bps == 1_000_000
    assert clock.run(0.25, player(), slow).lower_bps == 2_000_000
    assert clock.run(0.25, player()).lower_bps is None


def test_the_lower_picture_never_has_more_than_the_main_one() -> None:
    clock = Clock()
    clock.run(2.0, player(), viewer(2_000_000))
    assert clock.run(0.25, player(1_000_000), viewer(2_000_000)).lower_bps == 1_000_000


def test_it_goes_back_up_when_its_path_has_carried_the_main_rate_for_a_while() -> None:
    clock = Clock()
    clock.run(2.0, player(), viewer(2_000_000))
    assert clock.run(tiers.UP_S - 0.5, player(), viewer(MAIN_BPS)).lower
    assert clock.run(0.5, player(), viewer(MAIN_BPS - 1)).lower
    assert clock.run(tiers.UP_S - 0.5, player(), viewer(MAIN_BPS)).lower
    assert not clock.run(1.0, player(), viewer(MAIN_BPS)).lower


def test_a_lower_picture_that_does_not_fill_the_path_is_given_up_for_a_trial_ever_less_often() -> (
    None
):
    clock = Clock()
    waits: list[float] = []
    for _ in range(7):
        assert clock.run(2.0, player(), viewer(2_000_000)).lower
        down = clock.now
        while clock.run(0.0, player(), viewer(2_000_000, limited=False)).lower:
            clock.now += STEP_S
        waits.append(round(clock.now - down))
    assert waits == [10, 20, 40, 80, 160, 160, 160]
    clock.run(2 * tiers.TRIAL_S, player(), viewer(MAIN_BPS))
    clock.run(2.0, player(), viewer(2_000_000))
    assert clock.run(tiers.PROBE_S - 1, player(), viewer(2_000_000, limited=False)).lower
    assert not clock.run(2.0, player(), viewer(2_000_000, limited=False)).lower


def test_a_second_player_is_a_viewer_to_the_first() -> None:
    second = ViewerPath(2, True, 1_000_000, True)
    assert Clock().run(2.0, player(), second) == Plan(MAIN_BPS, 1_000_000, frozenset({2}))


def test_without_a_player_the_fastest_viewer_decides_and_a_new_player_at_once() -> None:
    clock = Clock()
    slow, fast = viewer(1_000_000), viewer(5_000_000, number=3)
    assert clock.run(2.0, slow, fast) == Plan(5_000_000, 1_000_000, frozenset({2}))
    assert clock.run(0.0, slow) == Plan(1_000_000, None, frozenset())
    assert clock.run(0.0, slow, fast, player(2_000_000)).main_bps == 2_000_000


def test_there_is_room_for_large_pictures_where_all_have_it_who_get_the_main_picture() -> None:
    roomy, tight = replace(player(), room=True), viewer(2_000_000)
    clock = Clock()
    assert clock.run(0.5, roomy).room
    assert not clock.run(0.5, roomy, tight).room
    assert clock.run(0.5, roomy, tight).room, "the viewer has the lower picture by now"
    assert not clock.run(0.5, player()).room
