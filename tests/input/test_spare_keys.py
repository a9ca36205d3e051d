"""Which keys are spare, and that one is not given away while another has rested longer."""

from agent.input.spare_keys import SpareKeys, keysym_of

A, KP_ADD, AE, NIHON = 0x61, 0xFFAB, 0xE4, 0x0100_65E5
NOBODY = (0, 0, 0, 0)


def test_the_keysym_of_latin_1_is_its_code_point_and_beyond_it_has_a_mark() -> None:
    assert [keysym_of(character) for character in "aä日😀"] == [A, AE, NIHON, 0x0101_F600]


def test_only_keys_without_symbols_and_those_of_an_earlier_injector_are_spare() -> None:
    mapping = {
        8: NOBODY,
        9: (AE, AE, AE, AE, 0, 0, 0),
        10: (NIHON, NIHON, NIHON, NIHON),
        38: (A, 0x41, A, 0x41),
        40: (A, 0, A, 0),
        86: (KP_ADD, KP_ADD, KP_ADD, KP_ADD),
        90: (0, AE, 0, 0),
    }
    spare = SpareKeys(mapping)
    assert {spare.key_of(keysym) for keysym in range(100, 110)} == {8, 9, 10}


def test_a_character_keeps_its_key_and_the_one_that_rests_longest_gives_way() -> None:
    spare = SpareKeys({8: NOBODY, 9: NOBODY})
    first, second = spare.key_of(A), spare.key_of(AE)
    assert {first, second} == {8, 9}
    assert spare.key_of(A) == first
    assert spare.key_of(NIHON) == second
    assert spare.key_of(A) == first
    assert spare.key_of(AE) == second


def test_a_keyboard_without_spare_keys_types_nothing() -> None:
    assert SpareKeys({38: (A, 0x41)}).key_of(NIHON) is None
