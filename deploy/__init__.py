"""How Tightbeam is put to work elsewhere; nothing here is part of the wheel."""
