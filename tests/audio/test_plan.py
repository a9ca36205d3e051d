"""How the sound is coded: its share beside the picture, and in-band FEC by what is lost."""

from __future__ import annotations

import pytest

from agent.audio.opus import OpusEncoder
from agent.audio.plan import BITRATE_BPS, STEPS_PERCENT, OpusSettings, SoundLoss, SoundPlan
from tests.audio.speech import SILK_ONLY, repeats_the_one_before, speech


def test_sound_falls_with_the_picture_and_rises_later_than_it() -> None:
    plan = SoundPlan()
    rates = [
        plan.decide(picture_bps, 0.0).bitrate_bps
        for picture_bps in (8_000_000, 1_400_000, 1_600_000, 1_900_000, 500_000, 800_000, 2_000_000)
    ]
    assert rates == [128_000, 64_000, 64_000, 128_000, 32_000, 32_000, 128_000]


def test_loss_switches_in_band_fec_on_and_off_with_hysteresis() -> None:
    plan = SoundPlan()
    percents = [
        plan.decide(8_000_000, loss).expected_loss_percent
        for loss in (0.0, 0.015, 0.03, 0.015, 0.07, 0.045, 0.03, 0.4, 0.009, 0.0)
    ]
    assert percents == [0, 0, 5, 5, 10, 10, 5, 20, 0, 0]


def test_loss_is_smoothed_over_three_seconds() -> None:
    loss = SoundLoss()
    loss.on_report(7, 1000)
    assert loss.fraction == 0.0, "the first report says only where counting begins"
    loss.on_report(17, 1100)
    assert loss.fraction == pytest.approx(0.1 / 3)
    loss.on_report(17, 1100)
    assert loss.fraction == pytest.approx(0.1 / 3), "nothing was sent between two reports"
    loss.on_report(17, 100)
    assert loss.fraction == pytest.approx(0.1 / 3), "the receiver began to count anew"
    loss.on_report(47, 400)
    assert loss.fraction == pytest.approx(0.1)
    for number in range(20):
        loss.on_report(40, 500 + 100 * number)
    assert loss.fraction < 0.001


def test_packets_go_out_twice_from_a_loss_on_until_nothing_was_lost_for_half_a_minute() -> None:
    loss = SoundLoss()
    lost = sent = 0

    def after(packets: int, lost_of_them: int) -> bool:
        nonlocal lost, sent
        lost, sent = lost + lost_of_them, sent + packets
        loss.on_report(lost, sent)
        return loss.repeats

    assert not after(100, 0)
    assert not after(300, 1)
    assert after(300, 3)
    assert all(after(300, 0) for _ in range(8)), "repaired, so that little is lost any more"
    assert after(300, 1)
    assert all(after(300, 0) for _ in range(9))
    assert not after(300, 0)


@pytest.mark.parametrize("bitrate_bps", [32_000, 64_000, BITRATE_BPS])
@pytest.mark.parametrize("percent", STEPS_PERCENT)
def test_expected_loss_puts_each_packets_core_into_the_next(percent: int, bitrate_bps: int) -> None:
    encoder = OpusEncoder(OpusSettings(bitrate_bps, percent))
    packets = [encoder.encode(block) for block in speech(200)]
    repeating = sum(repeats_the_one_before(packet) for packet in packets)
    if percent:
        assert repeating > 60, "half of it is speech"
    else:
        assert repeating == 0
        assert all(packet[0] >> 3 > SILK_ONLY for packet in packets), "the mode without delay"
    assert sum(map(len, packets)) * 8 / 2 < 1.5 * bitrate_bps
