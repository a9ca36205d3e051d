"""Which keys are spare, and that one is not given away while another has rested longer."""

from agent.input.spare_keys import SpareKeys, keysym_of

A, COMMA, KP_ADD, AE, NIHON, MONGOLIAN_A = 0x61, 0x2C, 0xFFAB, 0xE4, 0x0100_65E5, 0x0100_1820
NOBODY = (0, 0, 0, 0)


def test_the_keysym_of_latin_1_is_its_code_point_and_beyond_it_has_a_mark() -> None:
    assert [keysym_of(character) for character in "aä日😀"] == [A, AE, NIHON, 0x0101_F600]


def test_only_keys_without_symbols_and_those_of_an_earlier_injector_are_spare() -> None:
    mapping = {
        8: NOBODY,
        93: (AE, AE, AE, AE, 0, 0, 0),
        249: (NIHON, NIHON, NIHON, NIHON),
        38: (A, 0x41, A, 0x41),
        40: (A, 0, A, 0),
        86: (KP_ADD, KP_ADD, KP_ADD, KP_ADD),
        90: (0, AE, 0, 0),
    }
    spare = SpareKeys(mapping)
    assert {spare.key_of(keysym) for keysym in range(100, 110)} == {8, 93, 249}


def test_a_real_key_that_types_the_same_with_shift_was_given_away_as_spare() -> None:
    comma = (COMMA, COMMA, COMMA, COMMA)  # of us(ibm238l)
    letter = (MONGOLIAN_A, MONGOLIAN_A, MONGOLIAN_A, MONGOLIAN_A)  # of cn(mon_trad)
    spare = SpareKeys({59: comma, 38: letter, 10: NOBODY, 93: NOBODY})  # 10: of ie(ogam)
    assert [spare.key_of(keysym) for keysym in (A, AE)] == [93, 93]


def test_a_key_that_has_a_character_already_is_given_away_after_all_empty_ones() -> None:
    spare = SpareKeys({93: (AE, AE, AE, AE), 249: NOBODY, 248: NOBODY})
    assert [spare.key_of(keysym) for keysym in (A, NIHON, COMMA)] == [249, 248, 93]


def test_a_character_keeps_its_key_and_the_one_that_rests_longest_gives_way() -> None:
    spare = SpareKeys({8: NOBODY, 93: NOBODY})
    first, second = spare.key_of(A), spare.key_of(AE)
    assert {first, second} == {8, 93}
    assert spare.key_of(A) == first
    assert spare.key_of(NIHON) == second
    assert spare.key_of(A) == first
    assert spare.key_of(AE) == second


def test_a_keyboard_without_spare_keys_types_nothing() -> None:
    assert SpareKeys({38: (A, 0x41)}).key_of(NIHON) is None
